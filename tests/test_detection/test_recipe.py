"""The published recipe, read back from what the configs build."""

import pytest
from amd_mm.models.meta import build_on_meta
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper

from .needed import skip_without_mmdet
from .tiny_detector import DETECTION, SMALL

CONFIGS = sorted(DETECTION.glob('*.py'))


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_recipe(path):
    cfg = Config.fromfile(path)
    optimizer = cfg.optim_wrapper.optimizer
    assert optimizer.type == 'mmengine.AdamW'
    assert (optimizer.lr, optimizer.weight_decay) == (2.5e-4, 0.05)
    assert tuple(optimizer.betas) == (0.9, 0.999)
    assert cfg.optim_wrapper.paramwise_cfg.decay_rate == 0.75
    assert cfg.model.backbone.drop_path_rate == 0.2
    assert cfg.model.roi_head.bbox_head.dropout_ratio == 0
    assert cfg.train_cfg.max_epochs == 30 and 'end' not in cfg.param_scheduler[1]
    assert cfg.param_scheduler[0].end == cfg.param_scheduler[1].begin == 5
    clips = cfg.train_dataloader.batch_size
    assert clips * 8 == cfg.auto_scale_lr.base_batch_size == 128
    train, test = (cfg[key].dataset for key in ('train_dataloader', 'test_dataloader'))
    # Ground-truth boxes only in training, detected ones in testing.
    assert train.pipeline[0].type == 'amd_mm.GroundTruthProposals'
    assert not train.get('proposal_file') and test.proposal_file
    assert test.person_det_score_thr == 0.8
    for dataset in (train, test):
        sampling, scale = (
            next(t for t in dataset.pipeline if t.type == name)
            for name in ('amd_mm.SampleAVAClip', 'mmaction.Resize')
        )
        assert (sampling.clip_len, sampling.frame_interval) == (16, 4)
        assert tuple(scale.scale) == (-1, 256)
    flips = [t.flip_ratio for t in train.pipeline if 'flip_ratio' in t]
    assert flips == [0.5]
    assert not any('RepeatedViews' in t.type for t in train.pipeline)
    rawframes = 'rawframes' in path.stem
    assert list(train.data_prefix) == ['img' if rawframes else 'video']
    kind = 'Kinetics' if 'ava-kinetics' in path.stem else ''
    assert train.type == test.type == f'amd_mm.CheckedAVA{kind}Dataset'
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        for name in ('ann_file', 'exclude_file', 'label_file'):
            assert evaluator[name] == test[name]
    size = path.stem.split('-p16')[0]
    assert cfg.model.backbone.pretrained.startswith(f'work_dirs/{size}-')


@pytest.mark.parametrize('size, width', [('small', 384), ('base', 768)])
def test_learning_rate_of_every_layer(size, width):
    skip_without_mmdet()
    name = SMALL.name.replace('small', size)
    cfg = Config.fromfile(DETECTION / name)
    model = build_on_meta(cfg)
    assert model.backbone.embed_dims == width
    assert model.roi_head.bbox_head.fc_cls.weight.shape == (81, width)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    names = {id(p): name for name, p in model.named_parameters()}
    for group in wrapper.optimizer.param_groups:
        for parameter in group['params']:
            name = names.pop(id(parameter))
            if 'patch_embed' in name:
                layer = 0
            elif 'blocks' in name:
                layer = int(name.split('.')[2]) + 1
            else:
                layer = 13
            assert group['lr'] == pytest.approx(2.5e-4 * 0.75 ** (13 - layer))
            spared = parameter.ndim == 1 or name.endswith('.bias')
            assert group['weight_decay'] == (0 if spared else 0.05)
    assert not names
