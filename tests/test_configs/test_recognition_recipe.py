"""The fine-tuning recipes (Tables S2 and S3), read back from what the configs build."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from amd_mm.models.meta import build_on_meta
from amd_mm.registry import MODELS, TRANSFORMS
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope

from .shrink import CONFIGS, all_configs, read_once
from .test_recipe import lr_curve
from .variants import VARIANTS

# lr and decay are those of the scripts; no stride: one frame of each of 16 segments.
RECIPES = {
    'amd_vit-small-p16_16xb16v2-sparse16-40e_sthv2': dict(
        width=384, lr=1e-3, clips=512, gpus=16, epochs=40, classes=174
    ),
    'amd_vit-base-p16_16xb16v2-sparse16-30e_sthv2': dict(
        width=768, lr=5e-4, clips=512, gpus=16, epochs=30, classes=174
    ),
    'amd_vit-small-p16_16xb16v2-16x4x1-150e_k400': dict(
        width=384, lr=1e-3, clips=512, gpus=16, epochs=150, classes=400, stride=4
    ),
    'amd_vit-base-p16_32xb16v2-16x4x1-90e_k400': dict(
        width=768, lr=1.4e-3, clips=1024, gpus=32, epochs=90, classes=400, stride=4
    ),
    'amd_vit-base-p16_8xb16v2-16x4x1-100e_ucf101': dict(
        width=768, lr=5e-4, clips=256, gpus=8, epochs=100, classes=101, stride=4,
        decay=0.7, drop_path=0.2, dropout=0.5,
    ),
    'amd_vit-base-p16_8xb8v2-16x2x1-60e_hmdb51': dict(
        width=768, lr=1e-3, clips=128, gpus=8, epochs=60, classes=51, stride=2, dropout=0.5
    ),
}  # fmt: skip
DEFAULTS = dict(stride=None, decay=0.75, drop_path=0.1, dropout=0.0)


@pytest.fixture(scope='module', params=RECIPES)
def recipe(request):
    """A column of the tables, and its config."""
    cfg = Config.fromfile(CONFIGS / f'amd/recognition/{request.param}.py')
    return SimpleNamespace(**{**DEFAULTS, **RECIPES[request.param]}, cfg=cfg)


def layer_of(name: str) -> int:
    """As the paper counts: 0 the embedding, 1 to 12 the blocks, 13 above."""
    if name.startswith('backbone.patch_embed'):
        return 0
    if name.startswith('backbone.blocks.'):
        return int(name.split('.')[2]) + 1
    return 13


def test_optimiser_groups(recipe):
    init_default_scope(recipe.cfg.default_scope)
    model = build_on_meta(recipe.cfg)
    wrapper = build_optim_wrapper(model, recipe.cfg.optim_wrapper)
    assert type(wrapper.optimizer) is torch.optim.AdamW
    assert recipe.cfg.optim_wrapper.precision == 'auto' and not wrapper.clip_grad_kwargs
    names = {id(param): name for name, param in model.named_parameters()}
    for group in wrapper.optimizer.param_groups:
        assert group['betas'] == (0.9, 0.999)
        for param in group['params']:
            name = names.pop(id(param))
            scale = recipe.decay ** (12 + 1 - layer_of(name))
            assert group['lr'] == pytest.approx(recipe.lr * scale), name
            spared = param.ndim == 1 or name.endswith('.bias')
            assert group['weight_decay'] == (0 if spared else 0.05), name
    assert not names


def test_schedule_of_every_iteration(recipe):
    per_epoch = 3
    rates = lr_curve(recipe.cfg, per_epoch)
    warm_up, total = 5 * per_epoch, recipe.epochs * per_epoch
    assert len(rates) == total
    assert rates[0] == pytest.approx(recipe.lr * 1e-3)
    assert rates[warm_up - 1] == pytest.approx(recipe.lr)
    assert rates[warm_up:] == sorted(rates[warm_up:], reverse=True)
    middle = warm_up + (total - warm_up) / 2
    either_side = rates[int(middle)] + rates[int(middle + 0.5)]
    assert either_side / 2 == pytest.approx(recipe.lr * 1.001 / 2, rel=0.02)
    assert rates[-1] < recipe.lr * 0.01


def test_batch_counts_clips(recipe):
    views = recipe.cfg.train_dataloader.dataset.pipeline[-1].num_views
    videos = recipe.cfg.train_dataloader.batch_size * recipe.gpus
    assert views == 2 and videos * views == recipe.clips
    assert recipe.cfg.auto_scale_lr.base_batch_size == videos


def test_model(recipe):
    model = build_on_meta(recipe.cfg)
    backbone, head = model.backbone, model.cls_head
    assert backbone.embed_dims == head.in_channels == recipe.width
    assert backbone.token_grid == (8, 14, 14) and backbone.depth == 12
    assert backbone.fc_norm is not None
    ramp = torch.linspace(0, recipe.drop_path, 12).tolist()
    drops = [getattr(b.drop_path, 'drop_prob', 0.0) for b in backbone.blocks]
    assert drops == pytest.approx(ramp)
    assert head.num_classes == recipe.classes
    assert head.dropout_ratio == recipe.dropout
    assert head.label_smooth_eps == 0.1
    blending = model.data_preprocessor.blending
    for part, alpha in zip(blending.augments[:2], (0.8, 1.0)):  # mixup, CutMix
        assert part.num_classes == recipe.classes
        assert part.beta.concentration0 == part.beta.concentration1 == alpha
    assert blending.probs == [0.5, 0.5, 0]


def test_augmentation(recipe):
    pipeline = recipe.cfg.train_dataloader.dataset.pipeline
    transforms = [TRANSFORMS.build(part) for part in pipeline]
    sampling = transforms[1]
    assert sampling.clip_len == 16
    if recipe.stride is None:
        assert type(sampling).__name__ == 'SparseSampleFrames'
    else:
        assert sampling.frame_interval == recipe.stride
    inner = {type(t).__name__: t for t in transforms[-1].transforms.transforms}
    assert ('Flip' in inner) == (recipe.stride is not None)
    assert inner['RandAugment'].policy == 'rand-m7-n4-mstd0.5-inc1'
    erasing = inner['RandomErasing']
    assert (erasing.probability, erasing.mode) == (0.25, 'pixel')
    crop = inner['RandomResizedCrop']
    assert crop.area_range == (0.08, 1.0)
    assert crop.aspect_ratio_range == (3 / 4, 4 / 3)


def test_views_of_a_test(recipe):
    pipeline = recipe.cfg.test_dataloader.dataset.pipeline
    clips = 2 if recipe.stride is None else 5
    assert pipeline[1].num_clips == clips and pipeline[1].test_mode
    assert pipeline[1].get('frame_interval') == recipe.stride
    assert any(t.type == 'mmaction.ThreeCrop' for t in pipeline)
    assert recipe.cfg.model.cls_head.average_clips == 'prob'
    assert recipe.cfg.test_dataloader.dataset.test_mode


def test_the_head_starts_small_and_fc_norm_fresh():
    cfg = Config.fromfile(CONFIGS / f'amd/recognition/{next(iter(RECIPES))}.py')
    cfg.model.backbone.pretrained = None
    model = MODELS.build(cfg.model)
    model.init_weights()
    weight = model.cls_head.fc_cls.weight.detach()
    assert weight.std().item() == pytest.approx(0.02 * 1e-3, rel=0.05)
    assert not model.cls_head.fc_cls.bias.any()
    assert (model.backbone.fc_norm.weight == 1).all()


def starts() -> list[tuple[Path, str]]:
    """(config, checkpoint in ``work_dirs``) of all configs and variants."""
    found = [(path, read_once(path)) for path in all_configs()]
    found += [(variant.config, variant.load()) for variant in VARIANTS]
    weights = [(path, cfg.model.backbone.get('pretrained')) for path, cfg in found]
    weights += [(path, cfg.model.get('teacher', {}).get('checkpoint')) for path, cfg in found]
    return [
        (path, file)
        for path, file in weights
        if str(file).startswith('work_dirs/') and 'quickstart' not in path.parent.name
    ]


def test_starting_weights_are_the_last_checkpoint_of_a_config():
    by_name = {path.stem: path for path in all_configs()}
    checked = starts()
    assert len(checked) > 25
    for path, file in checked:
        _, name, checkpoint = file.split('/')
        epochs = read_once(by_name[name]).train_cfg.max_epochs
        assert checkpoint == f'epoch_{epochs}.pth', path
        if 'mvd' not in path.parts:  # MVD pre-trains on K400 for all
            assert ('sthv2' in name) == ('sthv2' in path.stem)
