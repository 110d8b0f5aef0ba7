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

from tests.test_configs.shrink import CONFIGS, VIEWS, make_data, shrink
from tests.test_tools.tool_scripts import run_tool

from .toy import ToyModel, toy_runner

MAIN = 'amd/pretrain/amd_vit-small-p16_vit-large_32xb16v4-16x4x1-200e_k400.py'


def summary(log):
    lines = log.split('This run:\n')[1].splitlines()
    lines = itertools.takewhile(lambda line: line.startswith('  '), lines)
    return {name: value.strip() for name, value in (line.strip().split('  ', 1) for line in lines)}


def test_a_run_of_a_real_config_with_the_tool(tmp_path, make_video):
    """One epoch of a schedule of 200, with an 8th of the videos of a step."""
    data = make_data(tmp_path, make_video)
    cfg = shrink(Config.fromfile(CONFIGS / MAIN), data)
    cfg.dump(tmp_path / 'tiny.py')
    options = 'train_cfg.max_epochs=1 optim_wrapper.accumulative_counts=2'
    options += ' optim_wrapper.precision=bf16 default_hooks.logger.interval=1'
    given = ('--work-dir', tmp_path / 'w', '--auto-scale-lr', '--cfg-options', *options.split())
    result = run_tool('train', tmp_path / 'tiny.py', *given)
    assert result.returncode == 0, result.stderr
    printed = result.stdout + result.stderr
    (log,) = (tmp_path / 'w').glob('*/*.log')
    assert 'paramwise_options' in log.read_text() and 'paramwise_options' not in printed
    said = summary(printed)
    assert said['clips per step'] == (
        f'{2 * VIEWS * 2} = 2 videos x {VIEWS} views x 1 processes x 2 accumulated'
    )
    lr = 2.4e-3 * 4 / 512
    assert said['learning rate'].startswith(f'{lr:.3e} at its peak')
    assert said['optimiser'].startswith('AdamW, weight_decay 0.05 (for ')
    assert said['optimiser'].endswith('betas (0.9, 0.95), clip_grad.max_norm 0.02')
    assert said['schedule'] == 'CosineAnnealingLR (steps 0 to 2)'
    assert said['tokens of a clip'] == '50: the student sees 6, the teacher 14'
    assert 'in no checkpoint' in said['parameters']
    assert said['video decoding'] == 'pyav' and said['precision'] == 'bf16'
    (scalars,) = (tmp_path / 'w').glob('*/vis_data/scalars.json')
    lines = [json.loads(line) for line in scalars.read_text().splitlines()]
    assert len(lines) == 2
    for line in lines:
        assert line['clips_per_s'] > 0 and 0 <= line['data_share'] <= 1
        assert {'loss_rec', 'loss_direct', 'loss_generation'} <= set(line)
    # The warm-up and its start are scaled with the schedule.
    assert lines[1]['lr'] == lines[1]['base_lr'] and lr / 10 < lines[1]['lr'] <= lr
    assert 'eta:' in printed and 'clips_per_s:' in printed and 'data_share:' in printed

    again = run_tool(
        'train', tmp_path / 'w/tiny.py', '--work-dir', tmp_path / 'again', '--auto-scale-lr'
    )
    assert again.returncode == 0 and summary(again.stdout + again.stderr) == said
    (repeated,) = (tmp_path / 'again').glob('*/vis_data/scalars.json')
    for line, other in zip(lines, map(json.loads, repeated.read_text().splitlines()), strict=True):
        for key in {'lr', 'base_lr', *(one for one in line if 'loss' in one)}:
            assert line[key] == other[key]


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


def test_times_do_not_follow_the_wall_clock(tmp_path, monkeypatch):
    wall = itertools.count(2e9, -100)
    monkeypatch.setattr('time.time', lambda: next(wall))
    runner = toy_runner(tmp_path, custom_hooks=[dict(type='amd_mm.ThroughputHook')])
    runner.train()
    for name in ('time', 'data_time', 'clips_per_s'):
        assert min(runner.message_hub.get_scalar(f'train/{name}').data[0]) >= 0
    assert len(runner.message_hub.get_scalar('train/clips_per_s').data[0]) == 8


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
