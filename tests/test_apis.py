"""The Python front door: models of all sources, their features and predictions."""

import dataclasses
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from amd_mm.apis import encoder_of, find_config, load_encoder, load_model
from amd_mm.checkpoints import CheckpointMismatchError, from_amd_mm, infer_backbone
from amd_mm.datasets import UnreadableVideoError, open_video
from amd_mm.datasets.inference import ClipSampling, read_sample, stride_of
from amd_mm.errors import ConfigError, VideoError
from amd_mm.inference import Model
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from PIL import Image

from tests import tiny, tiny_image, tiny_tinymim
from tests.conftest import write_video
from tests.test_checkpoints.states import encoder as encoder_shapes
from tests.test_checkpoints.states import fill, rotary_encoder
from tests.test_evaluation import models

SAMPLING = ClipSampling(frames=8, stride=2, clips=3, size=64)


def clips(frames=8, side=64):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (2, 3, frames, side, side), dtype=torch.uint8, generator=generator)


def expected(model, inputs):
    """Features computed by the model itself."""
    batch = dict(inputs=list(inputs[:, None]), data_samples=None)
    with torch.no_grad():
        ready = model.data_preprocessor(batch)['inputs']
        if hasattr(model, 'cls_head'):
            return model.backbone(ready[:, 0])
        return model.extract_feat(ready).mean(1)


@pytest.fixture
def video(tiny_video_folder):
    return str(tiny_video_folder / 'more/deep/d clip 1.mp4')


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """A training folder of a recogniser."""
    folder = tmp_path_factory.mktemp('run')
    models.save(models.fine_tuned(), folder / 'epoch_1.pth')
    pipeline = SAMPLING.pipeline()
    cfg = dict(
        default_scope='mmaction',
        model=models.recognizer_cfg(),
        test_dataloader=dict(dataset=dict(pipeline=pipeline)),
        test_pipeline=pipeline,
    )
    Config(cfg).dump(folder / 'config.py')
    # the folder was moved since
    (folder / 'last_checkpoint').write_text('/gone/run/epoch_1.pth')
    return folder


# -- weights alone -----------------------------------------------------------------------------


@pytest.mark.parametrize('make', [models.pretrained, models.fine_tuned])
@pytest.mark.parametrize('fmt', ['amd_mm', 'videomae', 'huggingface'])
def test_weights_of_all_formats_need_no_config(tmp_path, make, fmt):
    model = make()
    if fmt == 'videomae' and make is models.fine_tuned:
        fmt = 'videomae_finetune'
    path = tmp_path / 'model.pth'
    torch.save(from_amd_mm(model.state_dict(), fmt).state, path)
    encoder = load_encoder(path, frames=8)
    if fmt == 'amd_mm':
        assert (encoder.frames, encoder.size) == (8, (64, 64))
        torch.testing.assert_close(
            encoder.encode(clips()), expected(model, clips()), rtol=1e-4, atol=1e-4
        )
    else:  # without a position table, the published size
        assert (encoder.frames, encoder.size) == (16, (224, 224))
        for name, value in model.backbone.named_parameters():
            assert torch.equal(encoder.backbone.state_dict()[name], value)


@pytest.mark.parametrize('load', [load_model, load_encoder])
def test_messages_name_no_option_that_tools_lack(tmp_path, load):
    state = models.pretrained().state_dict()
    del state['backbone.patch_embed.projection.bias']
    torch.save(state, tmp_path / 'model.pth')
    with pytest.raises(CheckpointMismatchError, match='Give a checkpoint of the whole') as error:
        load(tmp_path / 'model.pth', frames=8)
    assert 'allow_missing' not in str(error.value)


def test_tokens_and_dtypes(tmp_path):
    encoder = load_encoder(models.save(models.pretrained(), tmp_path / 'model.pth'), frames=8)
    tokens = encoder.encode(clips(), keep_tokens=True)
    assert tokens.shape == (2, 4, 4, 4, 64)
    torch.testing.assert_close(tokens.mean((1, 2, 3)), encoder.encode(clips()))
    assert encoder.encode(clips(), torch.float16).dtype == torch.float16
    # clips of another size than in training
    assert encoder(clips(frames=4, side=96)).shape == (2, 64)


@pytest.mark.parametrize('kind', ['sincos_1d', 'sincos_3d', 'sincos_3d_strong', 'learned'])
def test_the_position_table_is_recognised(tmp_path, kind):
    other = dict(pos_embed_type=kind) if kind != 'learned' else dict(use_learnable_pos_emb=True)
    torch.manual_seed(0)
    cfg = tiny.videomae(backbone=tiny.backbone(**models.WIDTH, init_values=0.1, **other))
    model = models.MODELS.build(cfg).eval()
    encoder = load_encoder(models.save(model, tmp_path / 'model.pth'), frames=8)
    torch.testing.assert_close(
        encoder.encode(clips()), expected(model, clips()), rtol=1e-4, atol=1e-4
    )


def test_architectures_of_published_models():
    cfg = infer_backbone(fill(encoder_shapes(3, 384)))
    assert (cfg['embed_dims'], cfg['depth'], cfg['num_heads']) == (384, 3, 6)
    assert (cfg['num_frames'], cfg['img_size']) == (16, 224)
    assert not cfg['use_mean_pooling'] and cfg['qkv_bias']
    assert infer_backbone(fill(encoder_shapes(1, 64, 'fc_norm', layer_scale=True)))['init_values']
    assert infer_backbone(fill(encoder_shapes(1, 48)), heads=3)['num_heads'] == 3
    assert infer_backbone(fill(encoder_shapes(1, 1280)))['num_heads'] == 16  # VideoMAE's H


def test_v_jepa_2_without_a_config(tmp_path):
    state = fill(rotary_encoder(2, 128))
    path = tmp_path / 'vitt.pt'
    torch.save(dict(target_encoder=from_amd_mm(state, 'vjepa2').state), path)
    encoder = load_encoder(path, frames=4, size=32)
    cfg = dict(infer_backbone(state, 4, 32), pretrained=str(path))
    assert (cfg['pos_embed_type'], cfg['num_heads'], cfg['img_size']) == ('rope_3d', 2, 32)
    backbone = models.MODELS.build(cfg)
    backbone.init_weights()
    whole = load_model(path, frames=4, size=32).backbone  # its names are nearly the file's
    torch.testing.assert_close(whole.state_dict(), backbone.state_dict())
    given = clips(frames=4, side=32)
    expected = backbone.encode(encoder.patches(given)).tokens.mean(1)
    torch.testing.assert_close(encoder.encode(given), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    'state, message',
    [
        (fill(encoder_shapes(1, 48)), '48 wide.*--heads'),
        ({'backbone.patch_embed.projection.weight': torch.zeros(8, 3, 4, 4)}, 'an image ViT'),
        ({}, 'no video ViT'),
    ],
)
def test_weights_that_leave_the_architecture_open(state, message):
    with pytest.raises(ConfigError, match=message):
        infer_backbone(state)


def test_a_position_table_may_leave_the_frames_open(tmp_path):
    path = models.save(models.pretrained(), tmp_path / 'model.pth')
    with pytest.raises(ConfigError, match='64 tokens.*--frames'):
        load_encoder(path)


# -- configs and training folders --------------------------------------------------------------


def test_the_config_decides_and_is_checked(tmp_path):
    path = models.save(models.pretrained(), tmp_path / 'epoch_1.pth')
    four_heads = load_encoder(
        (Config(dict(model=tiny.videomae(backbone=tiny.backbone(64, 2, 4)))), path)
    )
    assert four_heads.backbone.num_heads == 4
    assert not torch.allclose(four_heads(clips()), load_encoder(path, frames=8)(clips()))
    wrong = Config(dict(model=tiny.videomae(backbone=tiny.backbone(64, 3, 1))))
    with pytest.raises(CheckpointMismatchError, match=r'epoch_1.pth[\s\S]*blocks.2'):
        load_encoder((wrong, path))
    with pytest.raises(ConfigError, match='model.backbone.type is X'):
        load_encoder((Config(dict(model=dict(backbone=dict(type='X')))), path))
    with pytest.raises(ConfigError, match='there is no config file no.py'):
        load_model(('no.py', path))


def test_random_weights(run):
    cfg = Config.fromfile(run / 'config.py')
    for load in (load_model, load_encoder):
        found = []
        for seed in (0, 0, 1):
            torch.manual_seed(seed)
            found.append(load((cfg, None)).backbone.blocks[0].attn.qkv.weight)
        assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


def test_a_training_folder(run, video, tmp_path):
    run = Path(shutil.copytree(run, tmp_path / 'moved'))
    model = load_model(run)
    assert load_model(run / 'epoch_1.pth').cfg.filename == str(run / 'config.py')
    found = dict(Model(model).predict(video, top_k=7))
    assert sum(found.values()) == pytest.approx(1, abs=1e-4) and len(found) == 7
    assert Model(model).features(video).shape == (3, 64)
    other = models.fine_tuned()
    torch.nn.init.zeros_(other.cls_head.fc_cls.weight)
    torch.nn.init.zeros_(other.cls_head.fc_cls.bias)
    models.save(other, run / 'best_acc_top1_epoch_2.pth')
    best = [value for _, value in Model(load_model(run)).predict(video)]
    np.testing.assert_allclose(best, 1 / 7, rtol=1e-5)


def test_only_a_run_s_folder_gives_its_config(tmp_path):
    checkpoint = str(tmp_path / 'epoch_1.pth')
    (tmp_path / 'config.py').write_text('')
    assert find_config(checkpoint) is None
    (tmp_path / 'last_checkpoint').write_text(checkpoint)
    assert find_config(checkpoint) == str(tmp_path / 'config.py')
    (tmp_path / 'other.py').write_text('')
    assert find_config(checkpoint) is None


def test_a_teacher_is_not_needed(tmp_path):
    """AMD becomes a masked autoencoder; its teacher's checkpoint may be gone."""
    torch.manual_seed(0)
    cfg = tiny.amd()
    model = models.MODELS.build(cfg).eval()
    path = models.save(model, tmp_path / 'amd.pth')
    cfg['teacher'] = dict(cfg['teacher'], random_init=False, checkpoint='gone.pth')
    loaded = load_model((Config(dict(model=cfg)), path))
    assert type(loaded).__name__ == 'MaskedAutoencoder'
    torch.testing.assert_close(encoder_of(loaded)(clips()), expected(model, clips()))
    with pytest.raises(ConfigError, match='no classifier'):
        Model(loaded).predict('clip.mp4')


def test_the_stride_of_a_config():
    def cfg(**parts):
        return Config(
            {
                f'{part}_dataloader': dict(dataset=dict(pipeline=[transform]))
                for part, transform in parts.items()
            }
        )

    dense = dict(type='mmaction.SampleFrames', clip_len=16, frame_interval=2)
    sparse = dict(type='amd_mm.SparseSampleFrames', clip_len=16)
    assert stride_of(cfg(train=dense)) == 2
    assert stride_of(cfg(train=dense, val=sparse)) is None
    assert stride_of(Config(dict())) == 4


# -- inputs ------------------------------------------------------------------------------------


def test_a_file_and_its_frames_are_the_same(run, video):
    model = load_model(run)
    with open_video(video) as reader:
        frames = np.stack(reader.read(list(range(len(reader)))))
    assert Model(model).predict(frames) == Model(model).predict(video)
    torch.testing.assert_close(Model(model).features(frames), Model(model).features(video))
    # an image is a video of one frame
    still = Model(model).features(frames[0])
    torch.testing.assert_close(still, Model(model).features(frames[:1]))


def test_many_clips_of_a_video(run, tmp_path):
    """They are encoded a few at a time; memory does not grow with their number."""
    video = write_video(tmp_path / 'long.mp4', frames=60, size=(320, 240))
    model, many = load_model(run), dataclasses.replace(SAMPLING, stride=1, clips=50)
    sample = read_sample(many.pipeline(), video)
    torch.testing.assert_close(
        Model(model).features(video, sampling=many), encoder_of(model).encode(sample['inputs'])
    )
    with torch.no_grad():
        whole = model.test_step(pseudo_collate([sample]))[0].pred_score
    found = dict(Model(model).predict(video, sampling=many, top_k=len(whole)))
    for label, value in enumerate(whole.tolist()):
        assert found[f'class {label}'] == pytest.approx(value, abs=1e-6)
    for sampling in (many, dataclasses.replace(many, stride=None), SAMPLING):
        whole = read_sample(sampling.pipeline(), video)['inputs']
        assert torch.equal(
            torch.cat([one.pixels for one in sampling.read(video, batch_size=7)]), whole
        )
    tracemalloc.start()
    for part in many.read(video):
        del part
    assert tracemalloc.get_traced_memory()[1] < 20 * 320 * 240 * 3  # 20 of 400 frames
    tracemalloc.stop()


def test_images(tmp_path, video):
    from tests.test_deployment import tiny_models

    cfg = tiny_models.read_config(tiny_models.IMAGES)
    model = load_model((cfg, tiny_models.save(tiny_models.build(cfg.model), tmp_path / 'x.pth')))
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / 'image.png')
    found = Model(model).predict(tmp_path / 'image.png')
    assert found == Model(model).predict(pixels) and len(found) == 5
    features = Model(model).features(pixels)
    assert features.shape == (1, model.backbone.embed_dims)
    torch.testing.assert_close(
        Model(load_encoder((cfg, tmp_path / 'x.pth'))).features(pixels), features
    )
    assert Model(model).features(video).shape == features.shape


def test_a_stock_pipeline_without_scopes(run, video):
    """As MMAction2's own configs name their transforms; a raw-frame config reads videos too."""
    ours = load_model(run)
    cfg = ours.cfg.copy()
    for step in cfg.test_dataloader.dataset.pipeline:
        step.type = step.type.split('.')[-1]
    steps = cfg.test_dataloader.dataset.pipeline
    for start, decode in ((['DecordInit'], 'DecordDecode'), ([], 'RawFrameDecode')):
        cfg.test_dataloader.dataset.pipeline = [
            *(dict(type=name) for name in start),
            steps[1],
            dict(type=decode),
            *steps[3:],
        ]
        model = load_model((cfg, run / 'epoch_1.pth'))
        assert Model(model).predict(video) == Model(ours).predict(video)


TINYMIM = tiny_tinymim.tinymim(data_preprocessor=tiny_image.image_preprocessor())


@pytest.mark.parametrize('cfg', [tiny_image.mae(), tiny_image.dmae(), TINYMIM])
def test_features_of_pretrained_image_models(tmp_path, cfg):
    """Without the teacher, a feature is the backbone's class token."""
    model = models.MODELS.build(cfg).eval()
    path = models.save(model, tmp_path / 'x.pth')
    cfg['backbone']['out_type'] = 'raw'
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    mean, std = torch.tensor(tiny.MEAN), torch.tensor(tiny.STD)
    values = ((torch.from_numpy(pixels) - mean) / std).permute(2, 0, 1)[None]
    with torch.no_grad():
        tokens = model.backbone.encode(model.backbone.patchify(values)).tokens
    for load in (load_model, load_encoder):
        loaded = load((Config(dict(model=cfg)), path))
        torch.testing.assert_close(Model(loaded).features(pixels), tokens[:, 0])
        kept = Model(loaded).features(pixels, tokens=True)
        torch.testing.assert_close(kept.flatten(1, 3), tokens[:, 1:])


def test_inputs_that_cannot_be_read(tmp_path, run):
    pipeline = load_model(run).cfg.test_pipeline
    with pytest.raises(VideoError, match='there is no video or image no.mp4'):
        read_sample(pipeline, 'no.mp4')
    (tmp_path / 'bad.png').write_text('no image')
    with pytest.raises(VideoError, match='bad.png'):
        read_sample(pipeline, tmp_path / 'bad.png')
    (tmp_path / 'bad.mp4').write_text('no video')
    with pytest.raises((VideoError, UnreadableVideoError), match='bad.mp4'):
        read_sample(pipeline, tmp_path / 'bad.mp4')


def test_labels(run, video):
    model = load_model(run)
    names = [f'doing {number}' for number in range(models.CLASSES)]
    plain = Model(model).predict(video)
    renamed = [(name.replace('class', 'doing'), value) for name, value in plain]
    assert Model(model).predict(video, labels=names) == renamed
    model.dataset_meta = dict(classes=names)
    assert Model(model).predict(video)[0][0].startswith('doing')
    with pytest.raises(ConfigError, match='2 labels for a model of 7'):
        Model(model).predict(video, labels=['a', 'b'])


# -- the hosts' own front doors ----------------------------------------------------------------


def test_mmaction2_runs_our_models(run, video):
    """``init_recognizer``, ``inference_recognizer`` and the inferencer give our probabilities."""
    from mmaction.apis import MMAction2Inferencer, inference_recognizer, init_recognizer

    config, checkpoint = str(run / 'config.py'), str(run / 'epoch_1.pth')
    ours = load_model(run)
    scores = torch.tensor([value for _, value in sorted(Model(ours).predict(video, top_k=7))])
    theirs = init_recognizer(config, checkpoint, device='cpu')
    for model in (theirs, ours):
        torch.testing.assert_close(inference_recognizer(model, video).pred_score, scores)
    inferencer = MMAction2Inferencer(rec=config, rec_weights=checkpoint, device='cpu')
    (found,) = inferencer(video)['predictions']
    np.testing.assert_allclose(found['rec_scores'][0], scores, rtol=1e-5)


def test_mmpretrain_runs_our_models(tmp_path):
    """``get_model`` and the inferencers give our probabilities and features."""
    from mmpretrain.apis import FeatureExtractor, ImageClassificationInferencer, get_model

    from tests.test_deployment import tiny_models

    config, checkpoint, _ = tiny_models.write(tmp_path, tiny_models.IMAGES)
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / 'image.png')
    loaded = load_model((config, checkpoint))
    ours = dict(Model(loaded).predict(tmp_path / 'image.png', top_k=100))
    model = get_model(config, pretrained=checkpoint, device='cpu')
    (found,) = ImageClassificationInferencer(model)(str(tmp_path / 'image.png'))
    np.testing.assert_allclose(
        found['pred_scores'], [ours[f'class {at}'] for at in range(len(ours))], rtol=1e-4
    )
    extractor = FeatureExtractor(config, pretrained=checkpoint, device='cpu')
    ((feature,),) = extractor(str(tmp_path / 'image.png'))
    torch.testing.assert_close(feature[None], Model(loaded).features(tmp_path / 'image.png'))
