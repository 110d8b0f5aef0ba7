"""Runs of days: nothing piles up, and a stop costs nothing."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest
import torch
from amd_mm.engine.hooks import StepSeedHook, StopOnSignalHook
from amd_mm.engine.hooks.stop_signals import TrainingStopped
from amd_mm.engine.interruption import restore_handlers, shield_workers
from mmengine.config import Config
from mmengine.hooks import Hook
from torch.utils.data import DataLoader

from tests.test_configs.shrink import REPOSITORY
from tests.test_engine.toy import toy_runner
from tests.test_reliability.soak import FRAMES, Soak
from tests.test_reliability.test_distributed import on_two_processes
from tests.test_reliability.test_resume import (
    EPOCHS,
    PER_EPOCH,
    equal,
    read_lines,
    start,
    write_config,
)
from tests.test_tools.tool_scripts import load_tool

# ----------------------------------------------------------- nothing piles up

linux = pytest.mark.skipif(not sys.platform.startswith('linux'), reason='reads /proc')
SIZE = (96, 72)
FRAME = SIZE[0] * SIZE[1] * 3
# Bytes a step and process that may be growth; a step decodes about one video
# of FRAMES frames in each worker. PyAV: measured up to 10 kB, of allocators
# and of coverage's own books; two frames of a clip kept would show. decord's
# pools fill for some hundred steps: measured up to 66 kB; three quarters of a
# clip, as a decoder that stays open would keep, would show.
TOLERATED = dict(pyav=FRAME * 2, decord=FRAME * FRAMES * 3 // 4)


@pytest.fixture(scope='module')
def soaked(tmp_path_factory, make_video):
    """{backend: {process: what it did}}, with one video in ten that is bad."""
    folder = tmp_path_factory.mktemp('soak')
    for index in range(18):
        make_video(str(folder / f'{index}.mp4'), 16, SIZE, seed=index)
    (folder / 'bad.mp4').write_bytes(b'no video' * 100)
    # Looks like a video for longer.
    whole = (folder / '0.mp4').read_bytes()
    (folder / 'cut.mp4').write_bytes(whole[: len(whole) // 2])
    done = subprocess.run(
        [sys.executable, '-m', 'tests.test_reliability.soak', str(folder)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=REPOSITORY,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    return {
        name: {process: Soak(*values) for process, values in one.items()}
        for name, one in found.items()
    }


@linux
@pytest.mark.parametrize('backend', TOLERATED)
def test_loader_keeps_memory_and_files(soaked, backend):
    if backend not in soaked:
        pytest.skip(f'{backend} is not installed')
    for name, one in soaked[backend].items():
        assert one.growth < TOLERATED[backend], name
        half = len(one.files) // 2
        # The least: a batch may still be on its way.
        assert min(one.files[half:]) <= min(one.files[:half]), name


@linux
def test_soak_sees_half_a_clip_kept_of_each_video(soaked):
    for name, one in soaked['losing'].items():
        assert (one.growth > TOLERATED['pyav']) == name.startswith('worker')


# -------------------------------------------------------- a stop costs nothing

main_thread = pytest.mark.skipif(
    threading.current_thread() is not threading.main_thread(), reason='signals need the main thread'
)


def wait_for(work_dir, iteration, process):
    deadline = time.time() + 200
    while len(read_lines(work_dir)) < iteration:
        assert time.time() < deadline and process.poll() is None
        time.sleep(0.01)


def train(config, work_dir, *arguments):
    time.sleep(1)  # the log folder is named by the second
    argv = [str(config), '--work-dir', str(work_dir), *arguments]
    load_tool('train').main(argv)


def told_at(monkeypatch, iteration, number):
    """Send a signal to this process in the middle of an iteration."""
    before = StepSeedHook.before_train_iter

    def step(self, runner, *args, **kwargs):
        before(self, runner, *args, **kwargs)
        if runner.iter + 1 == iteration:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(StepSeedHook, 'before_train_iter', step)


@main_thread
@pytest.mark.parametrize('counts', [1, 2])
def test_stopped_twice_and_resumed_equals_uninterrupted(
    tmp_path, make_video, monkeypatch, capfd, counts
):
    """Ctrl-C on a real run with workers, then SIGTERM; both mid-epoch."""
    monkeypatch.setattr('mmengine.runner.runner.collect_env', dict)
    config = write_config(tmp_path, make_video)
    cfg = Config.fromfile(config)
    cfg.optim_wrapper.accumulative_counts = counts
    cfg.dump(config)
    cfg.train_dataloader.update(num_workers=2, persistent_workers=True)
    in_workers = tmp_path / 'in_workers.py'
    cfg.dump(in_workers)
    whole, stopped = tmp_path / 'whole', tmp_path / 'stopped'

    process = start(in_workers, stopped, own_group=True)
    wait_for(stopped, PER_EPOCH + 2, process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGINT, output
    assert 'Traceback' not in output and 'Error' not in output
    curves = [read_lines(stopped)]
    at = max(curves[0])
    assert PER_EPOCH < at < EPOCHS * PER_EPOCH
    assert at % counts == 0
    first = stopped / f'stopped_at_iter_{at}.pth'
    assert f'SIGINT: stopped after iteration {at} and saved {first}' in output
    assert (stopped / 'last_checkpoint').read_text() == str(first)

    # In the last epoch, unless Ctrl-C has come as late as that.
    told = max(at + 1, 2 * PER_EPOCH + 3)
    second = told + told % counts  # the end of the optimiser's step
    with monkeypatch.context() as patched:
        told_at(patched, told, signal.SIGTERM)
        with pytest.raises(SystemExit) as end:
            train(config, stopped, '--resume')
    assert end.value.code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    curves.append(read_lines(stopped))
    assert (min(curves[1]), max(curves[1])) == (at + 1, second)
    # The epoch's end has superseded the first stop.
    assert not first.exists()
    assert (stopped / f'stopped_at_iter_{second}.pth').exists()

    train(config, stopped, '--resume')
    curves.append(read_lines(stopped))
    assert (min(curves[2]), max(curves[2])) == (second + 1, EPOCHS * PER_EPOCH)
    assert not list(stopped.glob('stopped_*'))
    line = f'[{EPOCHS}][{second % PER_EPOCH + 1}/{PER_EPOCH}]'
    assert line in ''.join(capfd.readouterr())

    train(config, whole)
    expected = read_lines(whole)
    assert len(expected) == EPOCHS * PER_EPOCH
    for curve in curves:
        for step, values in curve.items():
            assert values == expected[step], step
    mine, theirs = (
        torch.load(folder / f'epoch_{EPOCHS}.pth', weights_only=False)
        for folder in (stopped, whole)
    )
    assert equal(mine['state_dict'], theirs['state_dict'])
    assert equal(mine['optimizer']['state'], theirs['optimizer']['state'])


class Told(Hook):
    """Asks a :class:`StopOnSignalHook` to stop, in one iteration."""

    def __init__(self, iteration):
        self.iteration = iteration

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        for hook in runner.hooks:
            stops = isinstance(hook, StopOnSignalHook)
            if stops and runner.iter + 1 == self.iteration:
                hook.signal = signal.SIGTERM


def train_toy(folder, counts, *hooks, resume=False):
    """2 epochs of 4 batches, with a stop if a hook asks for it."""
    wrapper = dict(
        type='amd_mm.GuardedOptimWrapper',
        precision='fp32',
        optimizer=dict(type='AdamW', lr=0.1),
        accumulative_counts=counts,
    )
    custom = [dict(type='amd_mm.StopOnSignalHook'), *hooks]
    try:
        toy_runner(folder, optim_wrapper=wrapper, custom_hooks=custom, resume=resume).train()
    finally:
        restore_handlers()


@pytest.mark.parametrize(
    'counts, told, stopped', [(2, 2, 2), (2, 5, 6), (3, 1, 3), (3, 4, 6), (3, 7, 8)]
)
def test_stops_where_no_gradient_waits(tmp_path, counts, told, stopped):
    """3 does not divide the 4 batches of an epoch; the run has 8."""
    whole, broken = tmp_path / 'whole', tmp_path / 'broken'
    train_toy(whole, counts)
    if stopped < 8:
        with pytest.raises(TrainingStopped):
            train_toy(broken, counts, Told(told))
        note = (broken / 'last_checkpoint').read_text()
        assert note.endswith(f'stopped_at_iter_{stopped}.pth')
        train_toy(broken, counts, resume=True)
    else:
        train_toy(broken, counts, Told(told))
    mine, theirs = (
        torch.load(folder / 'epoch_2.pth', weights_only=False) for folder in (broken, whole)
    )
    assert equal(mine['state_dict'], theirs['state_dict'])
    assert equal(mine['optimizer']['state'], theirs['optimizer']['state'])


def agreements(rank):
    hook, said = StopOnSignalHook(), []
    for step in range(4):
        if (rank, step) == (1, 2):  # one of them is told
            hook.signal = int(signal.SIGTERM)
        said.append(hook.agreed())
    return said


def test_all_processes_stop_at_the_same_step():
    expected = [0, 0, signal.SIGTERM, signal.SIGTERM]
    assert on_two_processes(agreements) == {0: expected, 1: expected}


def told_twice(between, number, queue):
    hook = StopOnSignalHook()
    hook.process = os.getpid()
    signal.signal(number, hook.note)
    os.kill(os.getpid(), number)
    hook.signal_time -= between
    os.kill(os.getpid(), number)
    queue.put(hook.signal)
    queue.close()
    queue.join_thread()


@pytest.mark.parametrize(
    'number, seconds, code',
    [
        (signal.SIGINT, 5, -signal.SIGINT),
        # torchrun passes on what the terminal has sent already.
        (signal.SIGINT, 0, 0),
        # As Slurm sends it, and the launcher again.
        (signal.SIGTERM, 5, 0),
    ],
)
def test_only_a_second_ctrl_c_ends_at_once(number, seconds, code):
    context = multiprocessing.get_context('fork')
    process = context.Process(target=told_twice, args=(seconds, number, context.Queue()))
    process.start()
    process.join(30)
    assert process.exitcode == code


def test_processes_of_the_loader_end_with_it_and_not_by_signals():
    """Slurm sends SIGTERM to all processes of a job."""
    loader = DataLoader(range(1000), num_workers=2, batch_size=1)
    shield_workers(loader)
    before = set(multiprocessing.active_children())
    batches = iter(loader)
    next(batches), next(batches)  # both are at work
    workers = set(multiprocessing.active_children()) - before
    assert len(workers) == 2
    subprocess.run(['kill', '-TERM', *(str(one.pid) for one in workers)], check=True)
    for _ in range(200):
        next(batches)
    assert all(one.is_alive() for one in workers)
    del batches
    for one in workers:
        one.join(10)
        assert one.exitcode == 0


def test_other_threads_leave_signals_alone():
    before = signal.getsignal(signal.SIGINT)
    hook = StopOnSignalHook()
    thread = threading.Thread(target=hook.before_train, args=(None,))
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGINT) is before
    restore_handlers()
    assert signal.getsignal(signal.SIGINT) is before


def test_epoch_of_another_length_begins_anew():
    said = []
    loader = [0] * 5
    runner = SimpleNamespace(
        _resume=True, train_dataloader=loader, logger=SimpleNamespace(warning=said.append)
    )
    hook = StopOnSignalHook()
    meta = dict(amd_mm_stopped=dict(batches=3, of=8))
    hook.after_load_checkpoint(runner, dict(meta=meta, optimizer={}))
    hook.before_train_epoch(runner)
    assert 'after 3 of 8 batches' in said[0]
    assert hook.undo_skip is None
