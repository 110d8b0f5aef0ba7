"""A run that is killed while it saves a checkpoint keeps the one before."""

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

EPOCHS = 4
DEADLY_EPOCH = 3


def runner(folder, epochs=EPOCHS, checkpoint=None, **other):
    hook = dict(type='amd_mm.AtomicCheckpointHook', interval=1, max_keep_ckpts=1)
    return toy_runner(
        folder,
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=3), checkpoint={**hook, **(checkpoint or {})}
        ),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        **other,
    )


def weights_of(path):
    return torch.load(path, weights_only=True)['state_dict']


def die():
    os.kill(os.getpid(), signal.SIGKILL)


class HalfWritten:
    """A file that receives half of the content before the process is killed."""

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


def train_and_die(folder, point):
    """Train in this process, which kills itself at a point of the third checkpoint."""
    checkpoint, note = f'epoch_{DEADLY_EPOCH}.pth', 'last_checkpoint'
    notes = 0
    real_open, real_replace, real_remove = open, os.replace, os.remove

    def is_deadly(path):
        nonlocal notes
        name = os.path.basename(str(path)).replace('.partial', '')
        if name == note and str(path).endswith('.partial'):
            notes += 1
            return point.endswith('note') and notes == DEADLY_EPOCH
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

    builtins.open, os.replace, os.remove = opening, replacing, removing
    runner(folder).train()


@pytest.fixture(scope='module')
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp('whole')
    runner(folder).train()
    return weights_of(folder / f'epoch_{EPOCHS}.pth')


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
    process.join(600)
    assert process.exitcode == -signal.SIGKILL
    assert Path(find_latest_checkpoint(str(tmp_path))).name == f'epoch_{resumed}.pth'
    for path in tmp_path.glob('*.pth'):
        weights_of(path)  # complete, whatever its name
    runner(tmp_path, resume=True).train()
    assert not list(tmp_path.glob('*.partial'))
    final = weights_of(tmp_path / f'epoch_{EPOCHS}.pth')
    assert all(torch.equal(final[name], value) for name, value in uninterrupted.items())


@pytest.fixture
def order(monkeypatch):
    """Files in the order in which they get their name (+) and are removed (-)."""
    done = []
    real_replace, real_remove = os.replace, os.remove

    def replacing(source, target):
        real_replace(source, target)
        done.append(f'+{os.path.basename(target)}')

    def removing(path):
        real_remove(path)
        done.append(f'-{os.path.basename(path)}')

    monkeypatch.setattr(os, 'replace', replacing)
    monkeypatch.setattr(os, 'remove', removing)
    return done


def test_old_checkpoints_are_removed_after_the_new_one_is_complete(tmp_path, order):
    runner(tmp_path, 2).train()
    assert order == [
        '+epoch_1.pth',
        '+last_checkpoint',
        '+epoch_2.pth',
        '+last_checkpoint',
        '-epoch_1.pth',
    ]


class Rising(BaseMetric):
    """An accuracy that rises and an error that stays, with every validation."""

    value = 0

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        Rising.value += 1
        return dict(acc=np.float64(Rising.value), loss=1.0)


@pytest.mark.parametrize('keys', ['acc', ['acc', 'loss']])
def test_the_best_checkpoint_is_replaced_in_the_same_order(tmp_path, order, keys):
    loader = dict(
        dataset=ToyData(2),
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='pseudo_collate'),
        batch_size=2,
    )
    evaluation = dict(val_dataloader=loader, val_cfg=dict(), val_evaluator=[Rising()])
    runner(tmp_path, 2, dict(save_best=keys), **evaluation).train()
    assert order.index('+best_acc_epoch_2.pth') < order.index('-best_acc_epoch_1.pth')
    kept = {'best_acc_epoch_2.pth', 'epoch_2.pth'}
    if keys != 'acc':  # the first one stays the best
        kept.add('best_loss_epoch_1.pth')
    assert {path.name for path in tmp_path.glob('*.pth')} == kept


def test_keeps_as_many_as_asked(tmp_path):
    runner(tmp_path, checkpoint=dict(max_keep_ckpts=2)).train()
    assert sorted(path.name for path in tmp_path.glob('*.pth')) == ['epoch_3.pth', 'epoch_4.pth']


@pytest.mark.parametrize(
    'counts, interval, multiple',
    [(1, 1, None), (2, 1, None), (3, 3, None), (3, 1, '3'), (8, 1, '2')],
)
def test_checkpoints_inside_of_a_step_are_announced(tmp_path, counts, interval, multiple):
    """An epoch has 4 batches; checkpoints do not hold the gradients so far."""
    runner(
        tmp_path,
        1,
        dict(interval=interval),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1), accumulative_counts=counts),
        custom_hooks=[],
    ).train()
    (log,) = tmp_path.glob('*/*.log')
    warned = f'accumulative_counts={counts} does not divide the 4 batches' in log.read_text()
    assert warned == (multiple is not None)
    assert multiple is None or f'a multiple of {multiple}' in log.read_text()
