"""The deferred hook logs what MMEngine's own hook logs."""

import json
from unittest import mock

import pytest
import torch
from amd_mm.engine.hooks.deferred_runtime_info import read_scalars
from mmengine.logging import MessageHub

from .toy import ToyData, toy_runner

CLOCKS = ('time', 'data_time', 'memory')


def run(folder, hook, **changes):
    hooks = dict(
        runtime_info=dict(type=hook),
        logger=dict(type='LoggerHook', interval=3, ignore_last=False),
        checkpoint=dict(type='amd_mm.AtomicCheckpointHook'),
    )
    runner = toy_runner(folder, default_hooks=hooks, **changes)
    runner.train()
    lines = (folder / runner.timestamp / 'vis_data/scalars.json').read_text().splitlines()
    lines = [json.loads(line) for line in lines]
    for line in lines:
        for clock in CLOCKS:
            line.pop(clock, None)
    return runner, lines


@pytest.mark.parametrize(
    'changes',
    [
        dict(),
        dict(
            train_cfg=dict(by_epoch=False, max_iters=7, val_interval=100),
            log_processor=dict(by_epoch=False),
        ),
        dict(
            optim_wrapper=dict(
                type='amd_mm.GuardedOptimWrapper',
                precision='fp32',
                accumulative_counts=3,
                optimizer=dict(type='AdamW', lr=0.1),
                clip_grad=dict(max_norm=1.0),
            )
        ),
    ],
    ids=['epochs', 'iterations', 'accumulation'],
)
def test_same_json_history_and_checkpoint_as_mmengine(tmp_path, changes):
    results = []
    for name, hook in (('mine', 'amd_mm.DeferredRuntimeInfoHook'), ('stock', 'RuntimeInfoHook')):
        runner, lines = run(tmp_path / name, hook, **changes)
        history = {
            key: buffer.data[0].tolist()
            for key, buffer in runner.message_hub.log_scalars.items()
            if not key.endswith('time')
        }
        results.append((lines, history, runner))
    (mine, my_history, _my_runner), (stock, stock_history, _) = results
    assert mine == stock and len(mine) >= 2
    assert {'loss', 'loss_a', 'extra', 'count', 'grad_norm'} <= set(mine[-1])
    assert my_history == stock_history
    last = (tmp_path / 'mine/last_checkpoint').read_text()
    saved = torch.load(last, weights_only=False)['message_hub']['log_scalars']
    assert saved['train/loss'][0].tolist() == my_history['train/loss']


def test_values_are_read_only_when_a_line_is_due(tmp_path):
    runner = toy_runner(tmp_path)
    hub, seen = runner.message_hub, []
    original = MessageHub.update_scalar

    def update(self, key, value, *args):
        assert not isinstance(value, torch.Tensor)
        if key == 'train/loss':
            seen.append(runner.iter)
        return original(self, key, value, *args)

    with mock.patch.object(MessageHub, 'update_scalar', update):
        runner.train()
    assert len(hub.get_scalar('train/loss').data[0]) == 8
    # Interval 3, and the end of each epoch of 4.
    assert seen == [2, 2, 2, 3, 6, 6, 6, 7]


def test_read_scalars_equals_item():
    values = [
        torch.tensor(0.1),
        2.5,
        torch.tensor(7),
        torch.tensor([0.1], dtype=torch.bfloat16),
        torch.tensor(0.1, dtype=torch.float64),
        'text',
        torch.tensor(True),
    ]
    read = read_scalars(values)
    expected = [value.item() if isinstance(value, torch.Tensor) else value for value in values]
    assert read == expected
    assert list(map(type, read)) == list(map(type, expected))


def test_values_before_a_validation_are_there_when_it_starts(tmp_path):
    from mmengine.hooks import Hook

    class Look(Hook):
        seen = []

        def before_val_epoch(self, runner):
            history = runner.message_hub.get_scalar('train/loss').data[0]
            self.seen.append(len(history))

    loader = dict(
        dataset=ToyData(2),
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='pseudo_collate'),
        batch_size=2,
    )
    from mmengine.evaluator import BaseMetric

    class Nothing(BaseMetric):
        def process(self, data_batch, data_samples):
            self.results.append(0)

        def compute_metrics(self, results):
            return dict(nothing=0)

    runner = toy_runner(
        tmp_path,
        custom_hooks=[Look()],
        train_cfg=dict(by_epoch=False, max_iters=4, val_interval=2),
        val_dataloader=loader,
        val_cfg=dict(),
        val_evaluator=[Nothing()],
    )
    runner.train()
    assert Look.seen == [2, 4]
