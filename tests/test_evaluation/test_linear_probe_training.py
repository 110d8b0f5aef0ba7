"""A linear probe trains its head, and nothing else."""

import logging

import pytest
import torch
from amd_mm.apis import load_encoder
from amd_mm.registry import MODELS
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper

from tests import tiny
from tests.test_configs.shrink import CONFIGS

from . import models


def probe_cfg(checkpoint=None):
    return dict(
        type='amd_mm.FrozenBackboneRecognizer',
        backbone=dict(
            tiny.backbone(**models.WIDTH),
            return_feat_map=True,
            drop_path_rate=0.9,
            pretrained=checkpoint,
        ),
        cls_head=dict(
            type='amd_mm.LinearProbeHead', num_classes=3, in_channels=64, average_clips='prob'
        ),
        data_preprocessor=tiny.preprocessor(),
    )


def batch(count=6):
    from mmaction.structures import ActionDataSample

    generator = torch.Generator().manual_seed(0)
    clips = torch.randint(0, 256, (count, 1, 3, 8, 64, 64), dtype=torch.uint8, generator=generator)
    samples = [ActionDataSample().set_gt_label(i % 3) for i in range(count)]
    return dict(inputs=list(clips), data_samples=samples)


def optim_wrapper(model, **other):
    return build_optim_wrapper(
        model,
        dict(
            type='amd_mm.GuardedOptimWrapper',
            precision='bf16',
            constructor='amd_mm.TrainableOnlyConstructor',
            optimizer=dict(type='mmengine.AdamW', lr=0.1, weight_decay=0.1),
            **other,
        ),
    )


def test_only_the_head_is_trained(tmp_path):
    pretrained = models.pretrained()
    path = models.save(pretrained, tmp_path / 'model.pth')
    model = MODELS.build(probe_cfg(path))
    model.init_weights()
    wrapper = optim_wrapper(model)
    inside = [one for group in wrapper.optimizer.param_groups for one in group['params']]
    assert {id(one) for one in inside} == {id(one) for one in model.cls_head.parameters()}
    losses = []
    for _ in range(12):
        model.train()
        assert model.cls_head.training and model.cls_head.norm.training
        assert not any(one.training for one in model.backbone.modules())
        losses.append(model.train_step(batch(), wrapper)['loss'].item())
    assert losses[-1] < 0.5 * losses[0]
    for name, value in pretrained.backbone.state_dict().items():
        assert torch.equal(model.backbone.state_dict()[name], value)
    assert model.cls_head.norm.running_mean.abs().max() > 0
    assert all(one.grad is None for one in model.backbone.parameters())


def test_its_features_are_those_of_the_tools(tmp_path):
    """The mean over normed tokens, as tools/extract_features.py has it."""
    path = models.save(models.pretrained(), tmp_path / 'model.pth')
    model = MODELS.build(probe_cfg(path))
    model.init_weights()
    clips = torch.stack(batch()['inputs'])[:, 0]
    features = load_encoder(path, frames=8)(clips)
    inputs = model.data_preprocessor(batch(), training=False)['inputs']
    seen = []
    model.cls_head.norm.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    model.train()(inputs, batch()['data_samples'], mode='loss')
    torch.testing.assert_close(seen[0], features, rtol=1e-4, atol=1e-4)
    # Batch norm: zero mean and unit deviation within the batch.
    scores = model.cls_head.norm(seen[0])
    torch.testing.assert_close(scores.mean(0), torch.zeros(64), atol=1e-4, rtol=0)


@pytest.mark.parametrize('paramwise', [None, dict(bias_decay_mult=0.0)])
def test_the_optimiser_is_silent_about_frozen_parameters(paramwise, caplog):
    model = MODELS.build(probe_cfg())
    with caplog.at_level(logging.WARNING):
        wrapper = optim_wrapper(model, **(dict(paramwise_cfg=paramwise) if paramwise else {}))
    assert not caplog.records
    decays = {
        tuple(one.shape): group['weight_decay']
        for group in wrapper.optimizer.param_groups
        for one in group['params']
    }
    assert decays == {(3, 64): 0.1, (3,): 0.0 if paramwise else 0.1}


@pytest.mark.parametrize(
    'name, flips',
    [
        ('linear-probe_vit-small-p16_8xb64-sparse16-30e_sthv2.py', False),
        ('linear-probe_vit-base-p16_8xb64-16x4x1-30e_k400.py', True),
    ],
)
def test_configs_augment_little(name, flips):
    cfg = Config.fromfile(CONFIGS / 'amd/probe' / name)
    names = [one['type'] for one in cfg.train_dataloader.dataset.pipeline[-1].transforms]
    assert 'amd_mm.RandAugment' not in names
    assert ('mmaction.Flip' in names) == flips
