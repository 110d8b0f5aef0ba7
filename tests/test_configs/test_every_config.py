"""Every config builds and makes one step, as it is but smaller."""

from collections import Counter

import pytest
import torch
from amd_mm.engine.utils import count_clips
from amd_mm.registry import MODELS
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.optim import build_optim_wrapper
from mmengine.runner import Runner

from .shrink import all_configs, make_data, shrink, views_of

CONFIGS = all_configs()
pytestmark = pytest.mark.no_cover


@pytest.fixture(scope='module')
def data(tmp_path_factory, make_video):
    return make_data(tmp_path_factory.mktemp('layouts'), make_video)


def test_there_are_configs_and_their_names_are_unique():
    assert len(CONFIGS) > 30
    repeated = [name for name, count in Counter(path.name for path in CONFIGS).items() if count > 1]
    assert not repeated, 'mim finds configs by their basename'


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_builds_and_steps(path, data):
    cfg = shrink(Config.fromfile(path), data)
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


@pytest.mark.parametrize(
    'path', [path for path in CONFIGS if 'recognition' in path.parts], ids=lambda path: path.stem
)
def test_builds_and_tests(path, data):
    cfg = shrink(Config.fromfile(path), data)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).eval()
    for loader_cfg in (cfg.val_dataloader, cfg.test_dataloader):
        loader = Runner.build_dataloader(loader_cfg, seed=0)
        batch = next(iter(loader))
        with torch.no_grad():
            sample, *_ = model.test_step(batch)
        classes = model.cls_head.num_classes
        assert sample.pred_score.shape == (classes,)
        # Over the views, of probabilities.
        torch.testing.assert_close(sample.pred_score.sum(), torch.tensor(1.0))
        evaluator = Evaluator(cfg.test_evaluator)
        evaluator.process([sample], batch)
        assert 0 <= evaluator.evaluate(len(batch))['acc/top1'] <= 1
    views = len(batch['inputs'][0])
    assert views == (6 if 'sthv2' in path.stem else 15)
