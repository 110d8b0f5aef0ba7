"""bf16 trains on a CPU; checkpoints hold no teacher; bad losses have names.

The checkpoint of ViT-B from ViT-L has 147 million weights: 589 MB, with the
optimiser's state 1.76 GB. The teacher's 304 million would add 1.2 GB to it
(and 2.4 GB of optimiser state, if it got there as well).
"""

import math

import pytest
import torch
from amd_mm.engine import NonFiniteError
from amd_mm.models.meta import build_on_meta
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.optim import build_optim_wrapper
from mmengine.runner import Runner

from tests import tiny
from tests.test_configs.shrink import CONFIGS, VIDEOS, shrink

FOLDER = 'amd/pretrain/amd_vit-small-p16_vit-base_32xb16v4-16x4x1-200e_folder.py'


@pytest.fixture
def cfg(tmp_path, make_video):
    for index in range(4):
        make_video(tmp_path / VIDEOS / f'{index}.mp4', frames=16, seed=index)
    cfg = shrink(Config.fromfile(CONFIGS / FOLDER), tmp_path)
    cfg.work_dir = str(tmp_path / 'w')
    cfg.experiment_name = tmp_path.name
    cfg.train_cfg.max_epochs = 1
    return cfg


def train(precision):
    model = tiny.build(tiny.amd())
    cfg = dict(type='amd_mm.GuardedOptimWrapper', precision=precision)
    cfg.update(optimizer=dict(type='AdamW', lr=1e-3), clip_grad=dict(max_norm=1.0))
    wrapper = build_optim_wrapper(model, cfg)
    losses = [model.train_step(tiny.batch(4), wrapper)['loss'].item() for _ in range(25)]
    return losses, model, wrapper


def test_bf16_autocast_trains_on_a_cpu():
    curves = {}
    for precision in ('fp32', 'bf16'):
        curves[precision], model, wrapper = train(precision)
    assert curves['bf16'] != curves['fp32']
    assert curves['bf16'][0] == pytest.approx(curves['fp32'][0], rel=0.02)
    assert sum(curves['bf16'][-5:]) < 0.9 * sum(curves['bf16'][:5])
    assert all(p.dtype == torch.float32 for p in model.parameters())
    # Nothing but the optimiser: there is no gradient scaler to save.
    assert set(wrapper.state_dict()) == {'state', 'param_groups'}


def test_a_checkpoint_does_not_contain_the_teacher(cfg, tmp_path):
    runner = Runner.from_cfg(cfg)
    runner.train()
    path = tmp_path / 'w/epoch_1.pth'
    saved = torch.load(path, weights_only=False)
    weights = saved['state_dict']
    student = sum(p.numel() for p in runner.model.parameters())
    teacher = sum(p.numel() for p in runner.model.teacher.parameters())
    tables = sum(b.numel() for b in runner.model.buffers())
    assert not any('teacher' in name for name in weights)
    in_file = sum(value.numel() for value in weights.values())
    assert student <= in_file <= student + tables < student + teacher
    in_optimiser = sum(
        value.numel()
        for state in saved['optimizer']['state'].values()
        for value in state.values()
        if value.ndim
    )
    assert in_optimiser == 2 * student


def test_real_size_of_a_checkpoint():
    model = build_on_meta(
        Config.fromfile(
            CONFIGS / 'amd/pretrain/amd_vit-base-p16_vit-large_32xb16v4-16x4x1-200e_k400.py'
        )
    )
    weights = sum(v.numel() for v in model.state_dict().values())
    teacher = sum(p.numel() for p in model.teacher.parameters())
    trained = sum(p.numel() for p in model.parameters())
    assert round(4 * weights / 1e6) == 589  # MB
    assert round(4 * (weights + 2 * trained) / 1e6) == 1759
    assert round(4 * teacher / 1e6) == 1215


class Spoil(Hook):
    """Makes the weights infinite before a step."""

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == 1:
            with torch.no_grad():
                runner.model.backbone.norm.weight.fill_(math.inf)


def test_a_bad_loss_names_the_video_files(cfg, tmp_path):
    runner = Runner.from_cfg(cfg)
    runner.register_hook(Spoil(), 'HIGHEST')
    with pytest.raises(NonFiniteError) as error:
        runner.train()
    names = runner.optim_wrapper.batch_names
    assert len(names) == 4 and 'iteration 1' in str(error.value)
    for name in names:
        assert name.endswith('.mp4') and str(tmp_path) in name and name in str(error.value)
    assert not list((tmp_path / 'w').glob('*.pth'))
