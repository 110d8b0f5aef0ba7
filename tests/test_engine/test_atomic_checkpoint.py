"""Whoever is killed while writing keeps the checkpoint before."""

import builtins
import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.runner.checkpoint import find_latest_checkpoint

from .toy import ToyData, toy_runner

HOOKS = dict(
    runtime_info=dict(type='amd_mm.DeferredRuntimeInfoHook'),
    logger=dict(type='LoggerHook', interval=3),
    checkpoint=dict(type='amd_mm.AtomicCheckpointHook', interval=1, max_keep_ckpts=1),
)
EPOCHS = 4
DEADLY_EPOCH = 3


def die():
    os.kill(os.getpid(), signal.SIGKILL)


class HalfWritten:
    """A file in which only half arrives before the process is killed."""

    def __init__(self, file):
        self.file = file

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def write(self, content):
        self.file.write(content[: len(content) // 2])
        self.file.flush()
        die()


def arm(point):
    """Make this process kill itself at a point of the third checkpoint."""
    checkpoint, note = f'epoch_{DEADLY_EPOCH}.pth', 'last_checkpoint'
    count = dict(note=0)
    real_open, real_replace, real_remove = open, os.replace, os.remove

    def is_deadly(path):
        name = os.path.basename(str(path)).replace('.partial', '')
        if name == note and str(path).endswith('.partial'):
            count['note'] += 1
            return point.endswith('note') and count['note'] == DEADLY_EPOCH
        return point.endswith('checkpoint') and name == checkpoint

    def opening(path, mode='r', *arguments, **more):
        file = real_open(path, mode, *arguments, **more)
        if point.startswith('write') and 'w' in mode and is_deadly(path):
            return HalfWritten(file)
        return file

    def replacing(source, target):
        deadly = is_deadly(source) if not point.startswith('write') else False
        if deadly and point.startswith('before renaming'):
            die()
        real_replace(source, target)
        if deadly:
            die()

    def removing(path):
        if point == 'before removing' and str(path).endswith('epoch_2.pth'):
            die()
        real_remove(path)

    builtins.open = opening
    os.replace = replacing
    os.remove = removing


def train_and_die(folder, point):
    arm(point)
    toy_runner(
        folder, default_hooks=HOOKS, train_cfg=dict(by_epoch=True, max_epochs=EPOCHS)
    ).train()


@pytest.fixture(scope='module')
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp('whole')
    toy_runner(
        folder, default_hooks=HOOKS, train_cfg=dict(by_epoch=True, max_epochs=EPOCHS)
    ).train()
    return torch.load(folder / f'epoch_{EPOCHS}.pth', weights_only=False)['state_dict']


@pytest.mark.parametrize(
    'point, resumed',
    [
        ('write checkpoint', 2),
        ('before renaming checkpoint', 2),
        ('after renaming checkpoint', 2),
        ('write note', 2),
        ('before renaming note', 2),
        ('after renaming note', 3),
        ('before removing', 3),
    ],
)
def test_killed_while_saving(tmp_path, uninterrupted, point, resumed):
    process = multiprocessing.get_context('fork').Process(
        target=train_and_die, args=(tmp_path, point)
    )
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL

    latest = find_latest_checkpoint(str(tmp_path))
    assert Path(latest).name == f'epoch_{resumed}.pth'
    for path in tmp_path.glob('*.pth'):  # whole, whatever the name
        torch.load(path, weights_only=False)

    runner = toy_runner(
        tmp_path, default_hooks=HOOKS, train_cfg=dict(by_epoch=True, max_epochs=EPOCHS), resume=True
    )
    runner.train()
    assert not list(tmp_path.glob('*.partial'))
    final = torch.load(tmp_path / f'epoch_{EPOCHS}.pth', weights_only=False)['state_dict']
    assert all(torch.equal(final[name], value) for name, value in uninterrupted.items())


def test_old_checkpoints_go_after_the_new_one_is_there(tmp_path, monkeypatch):
    order = []
    real_replace, real_remove = os.replace, os.remove

    def replacing(source, target):
        real_replace(source, target)
        order.append(f'+{os.path.basename(target)}')

    def removing(path):
        real_remove(path)
        order.append(f'-{os.path.basename(path)}')

    monkeypatch.setattr(os, 'replace', replacing)
    monkeypatch.setattr(os, 'remove', removing)
    toy_runner(tmp_path, default_hooks=HOOKS).train()
    assert order == [
        '+epoch_1.pth',
        '+last_checkpoint',
        '+epoch_2.pth',
        '+last_checkpoint',
        '-epoch_1.pth',
    ]
    assert [path.name for path in tmp_path.glob('*.pth')] == ['epoch_2.pth']


class Rising(BaseMetric):
    """An accuracy that rises with every validation."""

    value = 0

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        Rising.value += 1
        return dict(acc=np.float64(Rising.value))


def test_the_best_checkpoint_is_replaced_safely_too(tmp_path, monkeypatch):
    order = []
    real_replace, real_remove = os.replace, os.remove
    monkeypatch.setattr(
        os,
        'replace',
        lambda source, target: (
            real_replace(source, target),
            order.append('+' + Path(target).name),
        ),
    )
    monkeypatch.setattr(
        os, 'remove', lambda path: (real_remove(path), order.append('-' + Path(path).name))
    )
    hooks = dict(HOOKS)
    hooks['checkpoint'] = dict(HOOKS['checkpoint'], save_best='acc')
    loader = dict(
        dataset=ToyData(2),
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='pseudo_collate'),
        batch_size=2,
    )
    toy_runner(
        tmp_path,
        default_hooks=hooks,
        val_dataloader=loader,
        val_cfg=dict(),
        val_evaluator=[Rising()],
    ).train()
    new, old = '+best_acc_epoch_2.pth', '-best_acc_epoch_1.pth'
    assert order.index(new) < order.index(old)
    assert {path.name for path in tmp_path.glob('*.pth')} == {'best_acc_epoch_2.pth', 'epoch_2.pth'}


def test_keeps_as_many_as_asked(tmp_path):
    hooks = dict(HOOKS)
    hooks['checkpoint'] = dict(HOOKS['checkpoint'], max_keep_ckpts=2)
    toy_runner(tmp_path, default_hooks=hooks, train_cfg=dict(by_epoch=True, max_epochs=4)).train()
    kept = sorted(path.name for path in tmp_path.glob('*.pth'))
    assert kept == ['epoch_3.pth', 'epoch_4.pth']


@pytest.mark.parametrize(
    'counts, interval, said', [(1, 1, None), (2, 1, None), (3, 3, None), (3, 1, '3'), (8, 1, '2')]
)
def test_checkpoints_inside_a_step_are_pointed_out(tmp_path, counts, interval, said):
    """Of 4 batches an epoch; the gradients so far are in no checkpoint."""
    hooks = dict(HOOKS, checkpoint=dict(HOOKS['checkpoint']))
    hooks['checkpoint']['interval'] = interval
    wrapper = dict(optimizer=dict(type='SGD', lr=0.1), accumulative_counts=counts)
    runner = toy_runner(
        tmp_path,
        default_hooks=hooks,
        optim_wrapper=wrapper,
        custom_hooks=[],
        train_cfg=dict(by_epoch=True, max_epochs=1),
    )
    runner.train()
    (log,) = tmp_path.glob('*/*.log')
    warned = f'accumulative_counts={counts} does not divide the 4 batches'
    assert (warned in log.read_text()) == (said is not None)
    assert said is None or f'a multiple of {said}' in log.read_text()
