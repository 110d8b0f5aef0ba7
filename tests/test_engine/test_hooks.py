"""Summary, throughput and seeds of a run."""

import itertools
import json
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from tests.test_configs.shrink import CONFIGS, VIEWS, make_data, shrink

from .toy import ToyModel, toy_runner

_NAMES = itertools.count()


@pytest.fixture(scope='module')
def data(tmp_path_factory, make_video):
    return make_data(tmp_path_factory.mktemp('layouts'), make_video)


def run_config(name, data, work_dir, **changes):
    cfg = shrink(Config.fromfile(CONFIGS / name), data)
    cfg.work_dir = str(work_dir)
    cfg.experiment_name = f'report{next(_NAMES)}'
    cfg.default_hooks.logger.interval = 1
    cfg.train_cfg.max_epochs = 1
    cfg.merge_from_dict(changes)
    runner = Runner.from_cfg(cfg)
    runner.train()
    (log,) = work_dir.glob('*/*.log')
    return runner, log.read_text()


def summary(log):
    lines = log.split('This run:\n')[1].splitlines()
    lines = itertools.takewhile(lambda line: line.startswith('  '), lines)
    return dict(line.strip().split('  ', 1) for line in lines)


def test_a_whole_run_of_a_real_config(data, tmp_path):
    runner, log = run_config(
        'amd/pretrain/amd_vit-small-p16_vit-large_32xb16v4-16x4x1-200e_k400.py',
        data,
        tmp_path,
        **{'optim_wrapper.accumulative_counts': 2, 'optim_wrapper.precision': 'bf16'},
    )
    said = {name: value.strip() for name, value in summary(log).items()}
    assert said['clips per step'] == (
        f'{2 * VIEWS * 2} = 2 videos x {VIEWS} views x 1 processes x 2 accumulated'
    )
    assert said['learning rate'].startswith('2.400e-03 at its peak; linear from 2.0e-06 to 2.4e-03')
    assert 'then cosine to 2.0e-05' in said['learning rate']
    assert said['tokens of a clip'] == ('50: the student sees 6, the teacher 14')
    assert 'in no checkpoint' in said['parameters']
    assert said['video decoding'] == 'pyav'
    assert said['precision'] == 'bf16'
    assert runner.iter == 2
    (scalars,) = tmp_path.glob('*/vis_data/scalars.json')
    lines = [json.loads(line) for line in scalars.read_text().splitlines()]
    assert len(lines) == 2
    for line in lines:
        assert line['clips_per_s'] > 0 and 0 <= line['data_share'] <= 1
        assert {'loss_rec', 'loss_direct', 'loss_generation'} <= set(line)
    assert 'eta:' in log and 'clips_per_s:' in log and 'data_share:' in log


@pytest.mark.parametrize(
    'name, decoding, tokens',
    [
        (
            'videomae/pretrain/videomae_vit-base-p16_32xb16v4-16x4x1-200e_folder.py',
            'pyav',
            '50: the student sees 6',
        ),
        (
            'amd/pretrain/amd_vit-small-p16_vit-large_32xb16v4-16x2x1-200e_sthv2.py',
            'pyav',
            '50: the student sees 6, the teacher 14',
        ),
    ],
)
def test_summary_of_other_runs(name, decoding, tokens, data, tmp_path):
    _, log = run_config(name, data, tmp_path, **{'optim_wrapper.precision': 'fp32'})
    said = {key: value.strip() for key, value in summary(log).items()}
    assert said['video decoding'] == decoding
    assert said['tokens of a clip'] == tokens
    assert said['precision'] == 'fp32'


def test_throughput_counts_clips_and_waiting(tmp_path, monkeypatch):
    """On a clock that goes on only where the test says so."""
    clock = SimpleNamespace(now=100.0)
    clock.time = lambda: clock.now
    monkeypatch.setattr('mmengine.hooks.iter_timer_hook.time', clock)

    class SlowModel(ToyModel):
        def forward(self, *arguments, **more):
            clock.now += 0.03
            return super().forward(*arguments, **more)

    class SlowData(Hook):
        """Waits where MMEngine's timer takes it for data loading."""

        priority = 'VERY_HIGH'

        def before_train_iter(self, runner, batch_idx, data_batch=None):
            clock.now += 0.01

    runner = toy_runner(
        tmp_path, model=SlowModel(), custom_hooks=[dict(type='amd_mm.ThroughputHook'), SlowData()]
    )
    runner.train()
    hub = runner.message_hub
    speeds = hub.get_scalar('train/clips_per_s').data[0]
    shares = hub.get_scalar('train/data_share').data[0]
    assert list(speeds) == pytest.approx([2 / 0.04] * 8)
    assert list(shares) == pytest.approx([0.01 / 0.04] * 8)


def test_every_step_is_seeded(tmp_path):

    class Draw(Hook):
        priority = 'LOW'

        def __init__(self):
            self.drawn = []

        def before_train_iter(self, runner, batch_idx, data_batch=None):
            self.drawn.append((random.random(), np.random.rand(), torch.rand(1).item()))

    draws = []
    for number in range(2):
        hook = Draw()
        torch.manual_seed(number)
        toy_runner(
            tmp_path / str(number), custom_hooks=[dict(type='amd_mm.StepSeedHook'), hook]
        ).train()
        draws.append(hook.drawn)
    assert draws[0] == draws[1]
    assert len(set(draws[0])) == len(draws[0])
