"""Models are read off their weights, and give the features they should."""

import pytest
import torch
from amd_mm.checkpoints import CheckpointMismatchError, from_amd_mm
from amd_mm.evaluation.clip_encoder import (
    ArchitectureError,
    ClipEncoder,
    ClipSampling,
    find_config,
    infer_backbone,
    stride_of,
)
from mmengine.config import Config

from tests import tiny
from tests.test_checkpoints.states import encoder_shapes, fill

from . import models


def clips(seed=0, frames=8, side=64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (2, 3, frames, side, side), dtype=torch.uint8, generator=generator)


def expected(model, inputs):
    """Features by the model itself."""
    batch = dict(inputs=list(inputs[:, None]), data_samples=None)
    with torch.no_grad():
        ready = model.data_preprocessor(batch)['inputs']
        if hasattr(model, 'cls_head'):
            return model.backbone(ready[:, 0])
        return model.extract_feat(ready).mean(1)


@pytest.mark.parametrize('make', [models.pretrained, models.fine_tuned])
@pytest.mark.parametrize('fmt', ['amd_mm', 'videomae', 'huggingface'])
def test_all_formats_without_a_config(tmp_path, make, fmt):
    model = make()
    if fmt == 'videomae' and make is models.fine_tuned:
        fmt = 'videomae_finetune'
    state = from_amd_mm(model.state_dict(), fmt).state
    path = tmp_path / 'model.pth'
    torch.save(state, path)
    # Formats without a position table leave the size of the clips open.
    encoder = ClipEncoder.from_checkpoint(str(path), frames=8)
    if fmt == 'amd_mm':
        assert (encoder.frames, encoder.size) == (8, 64)
        encode = encoder.encode_with('cpu')
        torch.testing.assert_close(encode(clips()), expected(model, clips()), rtol=1e-4, atol=1e-4)
    else:
        assert (encoder.frames, encoder.size) == (16, 224)
        for name, value in model.backbone.named_parameters():
            assert torch.equal(encoder.backbone.state_dict()[name], value)


def test_tokens_are_kept_in_their_places(tmp_path):
    model = models.pretrained()
    path = models.save(model, tmp_path / 'model.pth')
    encoder = ClipEncoder.from_checkpoint(path, frames=8)
    tokens = encoder.encode_with('cpu', keep_tokens=True)(clips())
    assert tokens.shape == (2, 4, 4, 4, 64)
    mean = encoder.encode_with('cpu')(clips())
    torch.testing.assert_close(tokens.mean((1, 2, 3)), mean)
    assert encoder.encode_with('cpu', torch.float16)(clips()).dtype == torch.float16
    # Clips of another size than in training, as the backbone allows it.
    assert encoder(clips(frames=4, side=96).float()).shape == (2, 64)


@pytest.mark.parametrize('kind', ['sincos_1d', 'sincos_3d', 'learned'])
def test_the_position_table_is_recognised(tmp_path, kind):
    other = dict(pos_embed_type=kind) if kind != 'learned' else dict(use_learnable_pos_emb=True)
    torch.manual_seed(0)
    cfg = tiny.videomae(backbone=tiny.backbone(**models.WIDTH, init_values=0.1, **other))
    model = models.MODELS.build(cfg).eval()
    path = models.save(model, tmp_path / 'model.pth')
    encoder = ClipEncoder.from_checkpoint(path, frames=8)
    torch.testing.assert_close(
        encoder.encode_with('cpu')(clips()), expected(model, clips()), rtol=1e-4, atol=1e-4
    )


def test_shapes_tell_published_models():
    state = fill(encoder_shapes(3, 384))
    cfg = infer_backbone(state)
    assert (cfg['embed_dims'], cfg['depth'], cfg['num_heads']) == (384, 3, 6)
    assert (cfg['num_frames'], cfg['img_size']) == (16, 224)
    assert not cfg['use_mean_pooling'] and cfg['qkv_bias']
    assert infer_backbone(fill(encoder_shapes(1, 64, 'fc_norm', layer_scale=True)))['init_values']


def test_what_cannot_be_told_is_asked_for(tmp_path):
    with pytest.raises(ArchitectureError, match='48 wide.*--heads'):
        infer_backbone(fill(encoder_shapes(1, 48)))
    assert infer_backbone(fill(encoder_shapes(1, 48)), heads=3)['num_heads'] == 3
    path = models.save(models.pretrained(), tmp_path / 'model.pth')
    with pytest.raises(ArchitectureError, match='64 tokens.*--frames'):
        ClipEncoder.from_checkpoint(path)
    image = {'backbone.patch_embed.projection.weight': torch.zeros(8, 3, 4, 4)}
    with pytest.raises(ArchitectureError, match='an image ViT'):
        infer_backbone(image)
    with pytest.raises(ArchitectureError, match='no video ViT'):
        infer_backbone({})
    encoder = ClipEncoder.from_checkpoint(path, frames=8)
    with pytest.raises(ArchitectureError, match='multiple of 2'):
        encoder.check(ClipSampling(frames=9, size=64))


def test_a_config_is_used_and_checked(tmp_path):
    model = models.pretrained()
    path = models.save(model, tmp_path / 'epoch_1.pth')
    cfg = Config(dict(model=tiny.videomae(backbone=tiny.backbone(64, 2, 4))))
    four_heads = ClipEncoder.from_checkpoint(path, cfg)
    assert four_heads.backbone.num_heads == 4
    one_head = ClipEncoder.from_checkpoint(path, frames=8)
    assert not torch.allclose(four_heads(clips()), one_head(clips()))
    assert four_heads.fingerprint() == one_head.fingerprint()
    wrong = Config(dict(model=tiny.videomae(backbone=tiny.backbone(64, 3, 1))))
    with pytest.raises(
        CheckpointMismatchError,
        match='epoch_1.pth.*missing'
        r'|epoch_1.pth[\s\S]*blocks.2',
    ):
        ClipEncoder.from_checkpoint(path, wrong)
    with pytest.raises(ArchitectureError, match='model.backbone is X'):
        ClipEncoder.from_checkpoint(path, Config(dict(model=dict(backbone=dict(type='X')))))


def test_the_config_beside_a_checkpoint(tmp_path):
    checkpoint = str(tmp_path / 'epoch_1.pth')
    (tmp_path / 'config.py').write_text('')
    assert find_config(checkpoint) is None  # any folder with a program
    (tmp_path / 'last_checkpoint').write_text(checkpoint)
    assert find_config(checkpoint) == str(tmp_path / 'config.py')
    (tmp_path / 'other.py').write_text('')
    assert find_config(checkpoint) is None


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
