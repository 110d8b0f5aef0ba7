"""The pre-training recipe (Table S1), read back from what the configs build."""

import math

import pytest
import torch
from amd_mm.models import teachers
from amd_mm.models.meta import build_on_meta, meter_step
from amd_mm.registry import MODELS
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS
from torch import nn

from .shrink import CONFIGS
from .variants import VARIANTS

MAIN = 'amd/pretrain/amd_vit-small-p16_vit-large_32xb16v4-16x4x1-200e_k400.py'


def load(name):
    return Config.fromfile(CONFIGS / name)


def lr_curve(cfg, epoch_length):
    """The learning rate of every iteration, from the config's schedulers."""
    optimizer = torch.optim.AdamW([nn.Parameter(torch.zeros(1))], lr=cfg.optim_wrapper.optimizer.lr)
    schedulers = []
    for scheduler in cfg.param_scheduler:
        scheduler = dict(dict(end=cfg.train_cfg.max_epochs), **scheduler)  # as in the runner
        convert = scheduler.pop('convert_to_iter_based')
        assert convert and scheduler['by_epoch']
        cls = PARAM_SCHEDULERS.get(scheduler.pop('type'))
        schedulers.append(
            cls.build_iter_from_epoch(optimizer, **scheduler, epoch_length=epoch_length)
        )
    rates = []
    for _ in range(cfg.train_cfg.max_epochs * epoch_length):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    return rates


def published_lr(step, peak, lowest, start, total, warm_up):
    if step < warm_up:
        return start + (peak - start) * step / (warm_up - 1)
    share = (step - warm_up) / (total - warm_up)
    return lowest + (peak - lowest) * (1 + math.cos(math.pi * share)) / 2


@pytest.mark.parametrize(
    'name, peak, lowest, start, passes',
    [
        (MAIN, 2.4e-3, 2e-5, 2e-6, 200),
        (
            'videomae/pretrain/videomae_vit-base-p16_32xb16v4-16x2x1-600e_sthv2.py',
            1.2e-3,
            8e-5,
            8e-6,
            600,
        ),
        (
            'videomae/pretrain/videomae_vit-large-p16_16xb8v4-16x4x1-400e_k400.py',
            3e-4,
            2e-5,
            2e-6,
            400,
        ),
    ],
)
def test_learning_rate_of_every_iteration(name, peak, lowest, start, passes):
    per_epoch = 7
    rates = lr_curve(load(name), per_epoch)
    total, warm_up = passes * per_epoch, 10 * per_epoch
    assert len(rates) == total
    for step in (0, 1, warm_up - 1, warm_up, warm_up + 1, total // 2, total - 1):
        expected = published_lr(step, peak, lowest, start, total, warm_up)
        assert rates[step] == pytest.approx(expected, rel=1e-6), step


def test_optimiser():
    cfg = load(MAIN)
    model = build_on_meta(cfg)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    optimizer = wrapper.optimizer
    assert type(optimizer) is torch.optim.AdamW
    assert cfg.optim_wrapper.precision == 'auto'
    assert wrapper.clip_grad_kwargs == dict(max_norm=0.02)
    names = {id(param): name for name, param in model.named_parameters()}
    assert len(optimizer.param_groups) == len(names)
    for group in optimizer.param_groups:
        assert group['betas'] == (0.9, 0.95)
        assert group['lr'] == 2.4e-3
        (param,) = group['params']
        name = names.pop(id(param))
        spared = param.ndim == 1 or name.endswith('bias') or 'mask_token' in name
        assert group['weight_decay'] == (0 if spared else 0.05), name
    assert not names


def test_batches_count_clips():
    cfg = load(MAIN)
    videos = cfg.train_dataloader.batch_size
    views = cfg.train_dataloader.dataset.pipeline[-1].num_views
    assert videos * 32 == cfg.auto_scale_lr.base_batch_size == 512
    assert videos * 32 * views == 2048 and cfg.train_cfg.max_epochs * views == 800


@pytest.mark.parametrize(
    'name, interval',
    [(MAIN, 4), ('amd/pretrain/amd_vit-base-p16_vit-large_32xb16v4-16x2x1-200e_sthv2.py', 2)],
)
def test_augmentation(name, interval):
    pipeline = load(name).train_dataloader.dataset.pipeline
    sampling = next(t for t in pipeline if t.type == 'mmaction.SampleFrames')
    assert (sampling.clip_len, sampling.frame_interval) == (16, interval)
    views = pipeline[-1]
    assert views.type == 'amd_mm.RepeatedViews' and views.num_views == 4
    crop = views.transforms[0]
    assert crop.type == 'mmaction.MultiScaleCrop'
    assert tuple(crop.scales) == (1, 0.875, 0.75, 0.66)
    assert crop.num_fixed_crops == 13 and crop.max_wh_scale_gap == 1
    assert not any('Flip' in t.type for t in views.transforms)


@pytest.mark.parametrize(
    'name, student, teacher, layers',
    [
        ('amd_vit-small-p16_vit-large_32xb16v4-16x4x1-200e_k400', 384, 1024, [12, 24]),
        ('amd_vit-base-p16_vit-large_32xb16v4-16x2x1-200e_sthv2', 768, 1024, [12, 24]),
        ('amd_vit-small-p16_vit-base_32xb16v4-16x2x1-200e_sthv2', 384, 768, [6, 12]),
    ],
)
def test_models_at_full_size(name, student, teacher, layers, monkeypatch):
    monkeypatch.setattr(teachers, 'supports_fast_bf16', lambda device: True)
    model = build_on_meta(load(f'amd/pretrain/{name}.py'))
    assert model.token_counts() == dict(
        total=1568, visible=160, teacher_only=232, hidden=1176, decoded=1408, generated=232
    )
    assert model.backbone.embed_dims == student
    assert model.student_layers == [6, 12]
    assert model.teacher.embed_dims == teacher
    assert model.teacher.layers == layers
    assert model.decoder.embed_dims == student // 2
    assert len(model.decoder.blocks) == 4
    assert model.decoder.head.out_features == 1536
    assert model.neck.projections[0].weight.shape == (teacher, student)
    assert len(model.neck.generators[0].blocks) == 2
    heads = model.neck.generators[0].blocks[0].attn.num_heads
    assert heads == teacher // 64
    linear = [
        parameter
        for module in model.teacher.modules()
        if isinstance(module, nn.Linear)
        for parameter in module.parameters()
    ]
    assert {parameter.dtype for parameter in linear} == {torch.bfloat16}


def variant(name):
    (found,) = [v for v in VARIANTS if v.name == name and v.config.parts[-3] == 'amd']
    return build_on_meta(found.load())


@pytest.mark.parametrize(
    'name, teacher_only',
    [
        ('teacher masks 0 %', 1408),
        ('teacher masks 25 %', 1016),
        ('teacher masks 45 %', 704),
        ('teacher masks 60 %', 472),
        ('teacher masks 90 %, as the student', 0),
    ],
)
def test_teacher_ratios(name, teacher_only):
    counts = variant(name).token_counts()
    assert (counts['visible'], counts['teacher_only']) == (160, teacher_only)


def test_no_reconstruction_has_no_decoder():
    assert not hasattr(variant('without reconstruction'), 'decoder')


def test_vit_small_builds_at_full_size_on_cpu():
    cfg = load('videomae/pretrain/videomae_vit-small-p16_32xb16v4-16x4x1-200e_k400.py')
    model = MODELS.build(cfg.model)
    model.init_weights()
    blocks = model.backbone.blocks
    bound = math.sqrt(6 / (384 + 1536))  # Xavier, as the public programs
    weight = blocks[0].mlp.layers[0][0].weight
    assert bound * 0.99 < weight.abs().max() <= bound
    assert sum(p.numel() for p in model.backbone.parameters()) == 21_879_936


@pytest.mark.parametrize(
    'path', sorted((CONFIGS / 'tinymim' / 'pretrain').glob('*.py')), ids=lambda path: path.stem
)
def test_drop_path_of_tinymim(path):
    """Constant, 0 in the target block; none in the teacher."""
    cfg = Config.fromfile(path).model
    layers = MODELS.build(cfg.backbone).layers
    for branch in ('attn.out_drop', 'ffn.dropout_layer'):
        rates = [getattr(layer.get_submodule(branch), 'drop_prob', 0.0) for layer in layers]
        assert rates == [0.1] * 11 + [0.0]
    assert 'drop_path_rate' not in cfg.teacher.backbone
    assert 'layer_cfgs' not in cfg.teacher.backbone


def test_tiny_student_of_short_small_clips():
    model = variant('8 frames of 112 x 112 pixels, for student and teacher').to('meta').train()
    counts = model.token_counts()
    assert counts['total'] == 4 * 7 * 7 and model.backbone.embed_dims == 192
    clips = torch.empty(2, 3, 8, 112, 112, dtype=torch.uint8, device='meta')
    flops = meter_step(model, dict(inputs=clips, data_samples=[])).flops
    assert flops['student'] < 2e9 < flops['teacher']  # of two clips
