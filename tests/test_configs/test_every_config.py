"""Every config trains and tests, shrunk, in a user's own config that derives from it.

The user's file lies in another folder and says ``_base_ = 'amd_mm::…'``.
"""

from pathlib import Path

import pytest
import torch
from amd_mm.apis import load_model
from amd_mm.engine.utils import count_clips
from amd_mm.errors import ConfigError
from amd_mm.registry import MODELS
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from .shrink import CONFIGS, all_configs, make_data, shrink, views_of
from .variants import VARIANTS, Variant

pytestmark = pytest.mark.no_cover
# One of each kind: what hosts build by default, inside what they build, differs.
KINDS = [
    'amd/pretrain/amd_vit-small-p16_vit-base_32xb16v4-16x4x1-200e_folder.py',
    'amd/recognition/amd_vit-small-p16_16xb16v2-sparse16-40e_sthv2.py',
    'amd/detection/amd_vit-small-p16_8xb16-16x4x1-30e_ava22.py',
    'amd/probe/linear-probe_vit-small-p16_8xb64-sparse16-30e_sthv2.py',
    'amd/image/amd_image_vit-small-p16_vit-large_16xb256-800e_in1k.py',
    'amd/image/amd_image_vit-small-p16_vit-large_finetune_8xb128-100e_in1k.py',
    'amd/image/amd_image_vit-small-p16_vit-large_linear_16xb1024-90e_in1k.py',
    'dmae/pretrain/dmae_mocov3_vit-small-p16_vit-base_16xb256-300e_in1k.py',
    'tinymim/pretrain/tinymim_vit-tiny-p16_vit-small_16xb256-300e_in1k.py',
    'quickstart/quickstart_finetune.py',
]


@pytest.fixture(scope='module')
def data(tmp_path_factory, make_video):
    return make_data(tmp_path_factory.mktemp('layouts'), make_video)


def derived(path: Path, folder: Path) -> Config:
    """A config in ``folder`` that derives from one of this package."""
    mine = folder / 'mine.py'
    mine.write_text(f"_base_ = 'amd_mm::{path.relative_to(CONFIGS).as_posix()}'\n")
    return Config.fromfile(mine)


def step(cfg: Config) -> torch.nn.Module:
    """Build a shrunk config and train for one step, in which every parameter changes."""
    init_default_scope(cfg.default_scope)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    optim_wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    before = {
        name: value.detach().clone()
        for name, value in model.named_parameters()
        if value.requires_grad
    }
    assert not any('teacher' in name for name in model.state_dict())
    batch = next(iter(loader))
    assert count_clips(batch) == loader.batch_size * views_of(cfg)
    losses = model.train_step(batch, optim_wrapper)
    assert all(torch.isfinite(value).all() for value in losses.values())
    changed = {
        name
        for name, value in model.named_parameters()
        if name in before and not torch.equal(value, before[name])
    }
    assert changed == set(before)
    return model


@pytest.mark.parametrize('path', all_configs(), ids=lambda path: path.stem)
def test_builds_steps_and_loads(path, data, tmp_path):
    cfg = shrink(derived(path, tmp_path), data)
    model = step(cfg)
    torch.save(dict(state_dict=model.state_dict(), meta={}), tmp_path / 'trained.pth')
    if 'MoCoV3ViT' in str(cfg.model.backbone.type):  # MMPretrain's; its tools load it
        with pytest.raises(ConfigError, match='MoCoV3ViT, but only'):
            load_model((cfg, tmp_path / 'trained.pth'))
        return
    loaded = load_model((cfg, tmp_path / 'trained.pth')).backbone.state_dict()
    trained = model.backbone.state_dict()
    assert all(torch.equal(loaded[name], trained[name]) for name in loaded)


@pytest.mark.parametrize('variant', VARIANTS, ids=str)
def test_variant_builds_and_steps(variant: Variant, data):
    cfg = shrink(variant.load(), data)
    init_default_scope(cfg.default_scope)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    losses = model.train_step(next(iter(loader)), build_optim_wrapper(model, cfg.optim_wrapper))
    assert all(torch.isfinite(value).all() for value in losses.values())


@pytest.mark.parametrize('name', KINDS, ids=lambda name: Path(name).stem)
def test_trains_and_tests_in_a_runner(name, data, tmp_path):
    cfg = shrink(derived(CONFIGS / name, tmp_path), data)
    cfg.train_cfg.max_epochs = 1
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None  # as the test
    cfg.work_dir, cfg.experiment_name = str(tmp_path / 'work'), tmp_path.name
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.iter >= 1
    if cfg.get('test_cfg'):
        metrics = runner.test()
        assert metrics and all(0 <= value <= 100 for value in metrics.values())
    (log,) = (tmp_path / 'work').glob('*/*.log')
    assert 'Failed to search registry' not in log.read_text()
    assert 'was asked for' not in log.read_text()


@pytest.mark.parametrize(
    'path', sorted(CONFIGS.glob('amd/recognition/*.py')), ids=lambda path: path.stem
)
def test_recogniser_averages_its_views(path, data):
    cfg = shrink(Config.fromfile(path), data)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).eval()
    loader = Runner.build_dataloader(cfg.test_dataloader, seed=0)
    batch = next(iter(loader))
    with torch.no_grad():
        sample, *_ = model.test_step(batch)
    assert sample.pred_score.shape == (model.cls_head.num_classes,)
    torch.testing.assert_close(sample.pred_score.sum(), torch.tensor(1.0))  # of probabilities
    evaluator = Evaluator(cfg.test_evaluator)
    evaluator.process([sample], batch)
    assert 0 <= evaluator.evaluate(len(batch))['acc/top1'] <= 1
    assert len(batch['inputs'][0]) == (6 if 'sthv2' in path.stem else 15)
