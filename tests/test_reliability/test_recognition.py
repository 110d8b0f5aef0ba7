"""Fine-tuning and testing through MMEngine's runner, on real video files."""

import logging
import pickle
from argparse import Namespace

import numpy as np
import pytest
import torch
from amd_mm.apis import load_model
from amd_mm.checkpoints import CheckpointMismatchError, from_amd_mm
from amd_mm.datasets.inference import read_sample
from amd_mm.inference import Model
from amd_mm.registry import MODELS
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from tests.test_configs.shrink import CONFIGS, make_data, shrink
from tests.test_tools.tool_scripts import load_tool

PRETRAINING = 'amd/pretrain/amd_vit-small-p16_vit-large_32xb16v4-16x4x1-200e_k400'
RECOGNITION = 'amd/recognition/amd_vit-small-p16_16xb16v2-16x4x1-150e_k400'
SPARSE = 'amd/recognition/amd_vit-small-p16_16xb16v2-sparse16-40e_sthv2'


@pytest.fixture(scope='module')
def data(tmp_path_factory, make_video):
    return make_data(tmp_path_factory.mktemp('layouts'), make_video)


def load(name, data):
    return shrink(Config.fromfile(CONFIGS / f'{name}.py'), data)


@pytest.fixture(scope='module')
def pretrained(tmp_path_factory, data):
    """A student as pre-training saves it: with decoder and neck."""
    torch.manual_seed(0)
    model = MODELS.build(load(PRETRAINING, data).model)
    with torch.no_grad():
        for parameter in model.backbone.parameters():
            parameter.normal_(std=0.1)
    path = tmp_path_factory.mktemp('weights') / 'student.pth'
    torch.save(dict(state_dict=model.state_dict(), meta={}), path)
    return path


def recognition(data, work_dir, name=RECOGNITION, epochs=1):
    """A real config, small, that trains two iterations an epoch."""
    cfg = load(name, data)
    cfg.work_dir = str(work_dir)
    cfg.train_cfg.max_epochs = epochs
    cfg.param_scheduler = None
    cfg.default_hooks.logger.interval = 1
    return cfg


def weights(path):
    return torch.load(path, weights_only=False)['state_dict']


def test_fine_tune_validate_and_test(tmp_path, data, pretrained, caplog):
    cfg = recognition(data, tmp_path)
    cfg.model.backbone.pretrained = str(pretrained)
    with caplog.at_level(logging.INFO):
        runner = Runner.from_cfg(cfg)
        runner.train()
    log = '\n'.join(path.read_text() for path in tmp_path.rglob('*.log'))
    assert f'Loaded {pretrained} (amd_mm) -> VideoVisionTransformer' in log
    assert 'missing    2  fc_norm' in log
    best = list(tmp_path.glob('best_acc_top1_epoch_1.pth'))
    assert best and runner.iter == 2
    test = recognition(data, tmp_path / 'test')
    test.load_from = str(best[0])
    metrics = Runner.from_cfg(test).test()
    assert set(metrics) >= {'acc/top1', 'acc/top5', 'acc/mean1'}


def test_real_videos_train_and_test(tmp_path, data, real_videos):
    """An iteration at a small size, then all views of a test."""
    ann = tmp_path / 'list.txt'
    ann.write_text('\n'.join(f'{path} {label}' for label, path in enumerate(real_videos[:2])))
    cfg = recognition(data, tmp_path / 'run', SPARSE)
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    for loader in (cfg.train_dataloader, cfg.test_dataloader):
        loader.dataset.update(data_root='', ann_file=str(ann), data_prefix=dict(video=''))
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.iter == 1
    metrics = runner.test()
    assert np.isfinite(list(metrics.values())).all()


def test_load_from_a_pretraining_checkpoint(tmp_path, data, pretrained):
    """The encoder is taken, head and fc_norm start fresh."""
    cfg = recognition(data, tmp_path, epochs=0)
    cfg.load_from = str(pretrained)
    runner = Runner.from_cfg(cfg)
    runner.train()
    source = weights(pretrained)
    mine = runner.model.state_dict()
    for name, value in mine.items():
        if name.startswith('backbone.blocks'):
            assert torch.equal(value, source[name]), name
    assert (mine['backbone.fc_norm.weight'] == 1).all()
    log = '\n'.join(path.read_text() for path in tmp_path.rglob('*.log'))
    assert f'Loaded {pretrained} (' in log and ') -> Recognizer3D' in log
    assert 'missing    4  backbone.fc_norm' in log


def test_load_from_another_data_set_keeps_all_but_the_classifier(tmp_path, data):
    """Kinetics' 400 classes -> UCF101's: fc_norm comes along."""
    source = MODELS.build(recognition(data, tmp_path).model)
    with torch.no_grad():
        source.backbone.fc_norm.weight.fill_(0.5)
    torch.save(dict(state_dict=source.state_dict()), tmp_path / 'k400.pth')
    cfg = recognition(data, tmp_path / 'run', SPARSE, epochs=0)
    cfg.load_from = str(tmp_path / 'k400.pth')
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert (runner.model.backbone.fc_norm.weight == 0.5).all()
    assert runner.model.cls_head.fc_cls.weight.abs().max() < 2e-4


def test_a_missing_encoder_weight_stops_the_run(tmp_path, data, pretrained):
    state = weights(pretrained)
    del state['backbone.blocks.3.attn.qkv.weight']
    torch.save(dict(state_dict=state), tmp_path / 'holed.pth')
    init = dict(type='Pretrained', checkpoint=str(tmp_path / 'holed.pth'), prefix='backbone.')
    cfg = recognition(data, tmp_path, epochs=0)
    cfg.model.backbone.init_cfg = init
    with pytest.raises(CheckpointMismatchError, match=r'holed.pth(.|\n)*blocks.3.attn.qkv.weight'):
        Runner.from_cfg(cfg).train()


def test_a_public_fine_tuned_file_tests_as_it_is(tmp_path, data):
    """In the public names, with the program's arguments beside them."""
    torch.manual_seed(0)
    source = MODELS.build(recognition(data, tmp_path).model)
    ours = dict(state_dict=source.state_dict())
    public = from_amd_mm(ours, 'videomae_finetune').state
    theirs = dict(model=public, args=Namespace(lr=1e-3, model='vit'))
    results = []
    for name, checkpoint in (('ours', ours), ('theirs', theirs)):
        cfg = recognition(data, tmp_path / name)
        cfg.load_from = str(tmp_path / f'{name}.pth')
        dump = tmp_path / f'{name}.pkl'
        cfg.test_evaluator = [
            cfg.test_evaluator,
            dict(type='mmengine.DumpResults', out_file_path=str(dump)),
        ]
        torch.save(checkpoint, cfg.load_from)
        Runner.from_cfg(cfg).test()
        results.append([one['pred_score'] for one in pickle.loads(dump.read_bytes())])
    assert len(results[0]) == 4
    assert torch.equal(torch.stack(results[0]), torch.stack(results[1]))


@pytest.mark.parametrize('theirs', ['mmaction.VisionTransformer', None])
def test_a_stock_config_with_another_backbone(tmp_path, data, theirs):
    """MMAction2's own config; a checkpoint of one backbone tests in both."""
    cfg = get_config(
        'mmaction::recognition/videomae/vit-base-p16_videomae-k400-pre_16x4x1_kinetics-400.py'
    )
    if theirs is None:
        cfg.model.backbone.type = 'amd_mm.VideoVisionTransformer'
    cfg.test_dataloader.dataset.update(
        ann_file=str(data / 'data/kinetics400/kinetics400_val_list_videos.txt'),
        data_prefix=dict(video=str(data / 'data/kinetics400/videos_val')),
    )
    cfg.model.backbone.update(img_size=32, embed_dims=24, num_heads=2, num_frames=4)
    cfg.model.cls_head.in_channels = 24
    for transform in cfg.test_dataloader.dataset.pipeline:
        for key, value in dict(clip_len=4, crop_size=32, scale=(-1, 32)).items():
            if key in transform:
                transform[key] = value
    cfg.test_dataloader.update(num_workers=0, persistent_workers=False)
    # What both must read the same of: drawn once, by the stock class.
    init_default_scope('mmaction')
    torch.manual_seed(0)
    stock = dict(cfg.model, backbone=dict(cfg.model.backbone))
    stock['backbone']['type'] = 'mmaction.VisionTransformer'
    torch.save(dict(state_dict=MODELS.build(stock).state_dict()), tmp_path / 'w.pth')
    cfg.update(
        work_dir=str(tmp_path),
        load_from=str(tmp_path / 'w.pth'),
        custom_hooks=[dict(type='amd_mm.StrictLoadHook')],
        test_evaluator=[
            dict(type='AccMetric'),
            dict(type='DumpResults', out_file_path=str(tmp_path / 'p.pkl')),
        ],
    )
    Runner.from_cfg(cfg).test()
    results = pickle.loads((tmp_path / 'p.pkl').read_bytes())
    scores = torch.stack([one['pred_score'] for one in results])
    assert len(scores) == 4
    reference = _scores_of_stock(stock, tmp_path / 'w.pth', cfg)
    torch.testing.assert_close(scores, reference, rtol=1e-4, atol=1e-6)


def _scores_of_stock(model, path, cfg):
    """The same without a runner, from the stock classes."""
    model = MODELS.build(model).eval()
    model.load_state_dict(weights(path))
    loader = Runner.build_dataloader(cfg.test_dataloader, seed=0)
    with torch.no_grad():
        return torch.stack([model.test_step(batch)[0].pred_score for batch in loader])


@pytest.mark.parametrize('method', ['mixup', 'CutMix'])
def test_last_batches_of_three_and_of_one_clip_are_blended(tmp_path, data, method):
    """A clip alone is blended with itself: its labels keep a sum of 1, and the model trains."""
    cfg = recognition(data, tmp_path)
    cfg.train_dataloader.update(batch_size=3, drop_last=False)
    cfg.train_dataloader.dataset.pipeline[-1].num_views = 1
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.model.data_preprocessor.blending.probs = [1.0, 0.0] if method == 'mixup' else [0.0, 1.0]
    runner = Runner.from_cfg(cfg)
    prepare, sizes = runner.model.data_preprocessor.forward, []

    def note(batch, training=False):
        prepared = prepare(batch, training)
        labels = torch.stack([sample.gt_label for sample in prepared['data_samples']])
        torch.testing.assert_close(labels.sum(1), torch.ones(len(labels)))
        sizes.append(len(prepared['inputs']))
        return prepared

    runner.model.data_preprocessor.forward = note
    runner.train()
    assert sizes == [3, 1]
    assert all(value.isfinite().all() for value in runner.model.state_dict().values())


def test_several_labels_per_video_from_training_to_export(tmp_path, data):
    """The sigmoids of the program's scores are those of the tested model."""
    several = tmp_path / 'several.txt'
    several.write_text('0.mp4 0 2\n1.mp4 1\n2.mp4 2 3\n3.mp4 0 1 3\n')
    cfg = recognition(data, tmp_path / 'run')
    metric = dict(type='mmaction.AccMetric', metric_list=('mmit_mean_average_precision',))
    cfg.val_evaluator = cfg.test_evaluator = metric
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.dataset.update(ann_file=str(several), multi_class=True, num_classes=4)
    cfg.model.cls_head.update(
        num_classes=4, loss_cls=dict(type='mmaction.BCELossWithLogits'), average_clips='score'
    )
    for blending in cfg.model.data_preprocessor.blending.augments:
        blending.num_classes = 4
    cfg.default_hooks.checkpoint.save_best = None
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.iter == 2
    config, checkpoint = str(tmp_path / 'x.py'), str(tmp_path / 'run/epoch_1.pth')
    cfg.dump(config)
    found = load_tool('test').main([config, checkpoint, '--work-dir', str(tmp_path / 'test')])
    assert 0 <= found['acc/mmit_mean_average_precision'] <= 1

    load_tool('export').main([config, checkpoint, str(tmp_path / 'x.pt2'), '--format', 'pt2'])
    program = torch.export.load(tmp_path / 'x.pt2').module()
    video = str(data / 'data/kinetics400/videos_val/0.mp4')
    model = Model(load_model((config, checkpoint)))
    clips = read_sample(model.cfg.test_pipeline, video)['inputs']
    scores = torch.stack([program(clip[None])[0] for clip in clips]).mean(0)
    expected = dict(model.predict(video, top_k=4))
    sigmoids = torch.tensor([expected[f'class {label}'] for label in range(4)])
    torch.testing.assert_close(scores.sigmoid(), sigmoids, atol=1e-4, rtol=1e-4)
