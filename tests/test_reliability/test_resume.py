"""A run that is killed or stopped, and resumed, equals one that is not."""

import json
import multiprocessing
import os
import signal
import subprocess
import threading
from types import SimpleNamespace

import pytest
import torch
from amd_mm.engine import NonFiniteError, launch
from amd_mm.engine.hooks import ResumeEpochHook, StepSeedHook, StopOnSignalHook
from amd_mm.engine.signals import SignalFlag, shield_workers
from amd_mm.errors import VideoError
from amd_mm.registry import MODELS
from mmengine.config import Config
from mmengine.hooks import Hook
from torch.utils.data import DataLoader

from tests.test_configs.shrink import CONFIGS, VIDEOS, shrink
from tests.test_engine.toy import ToyData, toy_runner
from tests.test_tools.tool_scripts import load_tool

from .test_distributed import on_two_processes

FOLDER = 'amd/pretrain/amd_vit-small-p16_vit-base_32xb16v4-16x4x1-200e_folder.py'
EPOCHS, PER_EPOCH = 2, 6
CLOCKS = ('time', 'data_time', 'clips_per_s', 'data_share', 'memory')
FORK = multiprocessing.get_context('fork')


@pytest.fixture(scope='module')
def config(tmp_path_factory, make_video):
    """A real config, small, with a model that also draws, and steps of two batches."""
    folder = tmp_path_factory.mktemp('resume')
    for index in range(2 * PER_EPOCH):
        make_video(folder / VIDEOS / f'{index}.mp4', frames=16, seed=index)
    cfg = shrink(Config.fromfile(CONFIGS / FOLDER), folder)
    cfg.model.backbone.drop_path_rate = 0.2
    cfg.optim_wrapper.accumulative_counts = 2
    cfg.train_cfg.max_epochs = EPOCHS
    warm_up, cosine = cfg.param_scheduler
    warm_up.end = cosine.begin = 1
    cosine.end = EPOCHS
    cfg.default_hooks.logger.interval = 1
    cfg.default_hooks.checkpoint.interval = 1
    cfg.dump(folder / 'tiny_resume.py')
    return folder / 'tiny_resume.py'


def train(config, work_dir, *arguments):
    load_tool('train').main([str(config), '--work-dir', str(work_dir), *arguments])


@pytest.fixture(scope='module')
def whole(config):
    """The folder of an uninterrupted run."""
    train(config, config.parent / 'whole')
    return config.parent / 'whole'


def at(patch, iteration, action):
    """Do something in the middle of an iteration."""
    before = StepSeedHook.before_train_iter

    def step(self, runner, *args, **kwargs):
        before(self, runner, *args, **kwargs)
        if runner.iter + 1 == iteration:
            action()

    patch.setattr(StepSeedHook, 'before_train_iter', step)


def train_and_meet(config, work_dir, iteration, signal_number):
    """Train in a process group that gets a signal, as from a terminal."""
    os.setsid()
    at(pytest.MonkeyPatch(), iteration, lambda: os.killpg(0, signal_number))
    train(config, work_dir)


def logged(work_dir):
    """What was logged of each step, in the order of the runs."""
    files = sorted(work_dir.glob('*/vis_data/scalars.json'))
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return [{key: line[key] for key in line if key not in CLOCKS} for line in lines]


def equal(mine, theirs):
    if isinstance(mine, torch.Tensor):
        return torch.equal(mine, theirs)
    if isinstance(mine, dict):
        return mine.keys() == theirs.keys() and all(equal(mine[key], theirs[key]) for key in mine)
    return mine == theirs


def assert_same_end(mine, theirs, epochs=EPOCHS):
    mine, theirs = (
        torch.load(folder / f'epoch_{epochs}.pth', weights_only=False) for folder in (mine, theirs)
    )
    assert equal(mine['state_dict'], theirs['state_dict'])
    assert equal(mine['optimizer']['state'], theirs['optimizer']['state'])


def assert_same_run(mine, whole, steps):
    """That ``mine`` logged ``steps``, with the values of ``whole``, and ended as it."""
    lines, expected = logged(mine), logged(whole)
    assert [line['iter'] for line in expected] == [*range(1, EPOCHS * PER_EPOCH + 1)]
    assert [line['iter'] for line in lines] == steps
    for line in lines:
        assert line == expected[line['iter'] - 1]
    assert_same_end(mine, whole)


def test_killed_and_resumed(config, whole, tmp_path):
    process = FORK.Process(target=train_and_meet, args=(config, tmp_path, 9, signal.SIGKILL))
    process.start()
    process.join(600)
    assert process.exitcode == -signal.SIGKILL
    train(config, tmp_path, '--resume')
    assert_same_run(tmp_path, whole, [*range(1, 9), *range(7, 13)])
    written = Config.fromfile(tmp_path / config.name)  # starts the run again
    assert not written.resume and written.load_from is None


def test_an_average_is_killed_resumed_and_fine_tuned(config, tmp_path):
    """EMAHook: the checkpoint has the averaged weights where fine-tuning looks for weights."""
    cfg = Config.fromfile(config)
    cfg.custom_hooks = [dict(type='mmengine.EMAHook', momentum=0.3)]
    averaged = config.with_name('averaged.py')
    cfg.dump(averaged)
    train(averaged, tmp_path / 'whole')
    broken = tmp_path / 'broken'
    process = FORK.Process(target=train_and_meet, args=(averaged, broken, 9, signal.SIGKILL))
    process.start()
    process.join(600)
    train(averaged, broken, '--resume')
    assert_same_end(broken, tmp_path / 'whole')
    path = broken / f'epoch_{EPOCHS}.pth'
    saved, whole = (
        torch.load(one / path.name, weights_only=False) for one in (broken, tmp_path / 'whole')
    )
    assert equal(saved['ema_state_dict'], whole['ema_state_dict'])
    student = MODELS.build(dict(cfg.model.backbone, pretrained=str(path)))
    student.init_weights()
    name = 'backbone.blocks.0.mlp.layers.1.weight'
    weight = student.get_parameter(name.removeprefix('backbone.'))
    assert torch.equal(weight, saved['state_dict'][name])
    assert not torch.equal(weight, saved['ema_state_dict'][f'module.{name}'])  # as trained


def test_stopped_twice_and_resumed(config, whole, tmp_path, monkeypatch, capfd):
    """Ctrl-C on a run with workers, then SIGTERM; both inside of an epoch and of a step."""
    cfg = Config.fromfile(config)
    cfg.train_dataloader.update(num_workers=2, persistent_workers=True)
    in_workers = config.with_name('in_workers.py')
    cfg.dump(in_workers)
    process = FORK.Process(target=train_and_meet, args=(in_workers, tmp_path, 3, signal.SIGINT))
    process.start()
    process.join(600)
    assert process.exitcode == 128 + signal.SIGINT
    first, second = (tmp_path / f'stopped_at_iter_{steps}.pth' for steps in (4, 10))
    printed = ''.join(capfd.readouterr())
    assert 'Traceback' not in printed and 'Error' not in printed
    assert f'SIGINT: stopped after iteration 4 and saved {first}' in printed
    assert (tmp_path / 'last_checkpoint').read_text() == str(first)

    with monkeypatch.context() as patch:
        at(patch, 9, lambda: signal.raise_signal(signal.SIGTERM))
        with pytest.raises(SystemExit) as end:
            train(config, tmp_path, '--resume')
    assert end.value.code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert second.exists() and not first.exists()

    train(config, tmp_path, '--resume')
    assert not list(tmp_path.glob('stopped_*'))
    assert '[2][5/6]' in ''.join(capfd.readouterr())
    assert_same_run(tmp_path, whole, [*range(1, 13)])


class Told(Hook):
    """Asks a :class:`StopOnSignalHook` to stop, in one iteration."""

    def __init__(self, iteration):
        self.iteration = iteration

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        for hook in runner.hooks:
            if isinstance(hook, StopOnSignalHook) and runner.iter + 1 == self.iteration:
                hook.flag.number = signal.SIGTERM


def train_toy(folder, counts, *hooks, resume=False, **changes):
    """2 epochs of 4 batches, with a stop if a hook asks for it."""
    wrapper = dict(
        type='amd_mm.GuardedOptimWrapper',
        precision='fp32',
        optimizer=dict(type='AdamW', lr=0.1),
        accumulative_counts=counts,
    )
    custom = [dict(type='amd_mm.ResumeEpochHook'), dict(type='amd_mm.StopOnSignalHook'), *hooks]
    changes = dict(optim_wrapper=wrapper, custom_hooks=custom, resume=resume, **changes)
    launch.train(toy_runner(folder, **changes))


@pytest.mark.parametrize('counts, told, stopped', [(2, 5, 6), (3, 4, 6), (1, 4, 4), (3, 7, 8)])
def test_stops_where_no_gradient_waits(tmp_path, counts, told, stopped):
    """3 does not divide the 4 batches of an epoch; the run has 8."""
    whole, broken = tmp_path / 'whole', tmp_path / 'broken'
    train_toy(whole, counts)
    if stopped < 8:
        with pytest.raises(SystemExit):
            train_toy(broken, counts, Told(told))
        note = (broken / 'last_checkpoint').read_text()
        assert note.endswith(f'stopped_at_iter_{stopped}.pth')
        train_toy(broken, counts, resume=True)
    else:
        train_toy(broken, counts, Told(told))
    assert_same_end(broken, whole, 2)


class Breaks(Hook):
    """Does something before one iteration."""

    def __init__(self, iteration, action):
        self.iteration, self.action = iteration, action

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter + 1 == self.iteration:
            self.action(runner)


class Gone(ToyData):
    """Data that can vanish."""

    gone = False

    def __getitem__(self, index):
        if self.gone:
            raise VideoError(f'there is no video {index}')
        return super().__getitem__(index)


def lose_data(runner):
    runner.train_dataloader.dataset.gone = True


def kill_worker(runner):
    for worker in multiprocessing.active_children():
        worker.kill()


def toy_loader(dataset, workers=0):
    return dict(
        dataset=dataset,
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='pseudo_collate'),
        batch_size=2,
        num_workers=workers,
    )


@pytest.mark.parametrize(
    'iteration, action, workers, error, least',
    [
        (6, lose_data, 0, 'no video 4', 6),
        (2, kill_worker, 1, 'data loader was killed .*num_workers', 2),
        (4, lose_data, 0, 'no video 0', 4),  # found by the validation, or the next epoch
    ],
)
def test_an_error_saves_what_ctrl_c_would(
    tmp_path, monkeypatch, iteration, action, workers, error, least
):
    whole, broken = tmp_path / 'whole', tmp_path / 'broken'
    train_toy(whole, 1)
    monkeypatch.setattr('torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL', 0.2)
    data = Gone()
    changes = dict(train_dataloader=toy_loader(data, workers))
    if least == 4:
        changes.update(val_dataloader=toy_loader(data), val_cfg={}, val_evaluator=[])
    with pytest.raises(ValueError, match=error):
        train_toy(broken, 1, Breaks(iteration, action), **changes)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    (saved,) = broken.glob('stopped_at_iter_*.pth')
    assert (broken / 'last_checkpoint').read_text() == str(saved)
    assert least <= int(saved.stem.rpartition('_')[2]) <= 2 * least
    train_toy(broken, 1, resume=True)
    assert_same_end(broken, whole, 2)


class Fails(Hook):
    """An error in the validation, before or after EMAHook has swapped the weights back."""

    def __init__(self, place):
        self.priority = 'LOW'
        setattr(self, place, self.fail)

    def fail(self, runner, *args, **kwargs):
        if runner.epoch == 1:
            raise VideoError('no video')


@pytest.mark.parametrize('place', ['after_val_iter', 'after_val_epoch'])
def test_an_error_in_the_validation_of_an_average_saves_the_trained_weights(tmp_path, place):
    whole, broken = tmp_path / 'whole', tmp_path / 'broken'
    ema = dict(type='mmengine.EMAHook', momentum=0.5)
    validation = dict(val_dataloader=toy_loader(ToyData()), val_cfg={}, val_evaluator=[])
    train_toy(whole, 1, ema, **validation)
    with pytest.raises(VideoError):
        train_toy(broken, 1, ema, Fails(place), **validation)
    train_toy(broken, 1, ema, resume=True, **validation)
    assert_same_end(broken, whole, 2)
    mine, theirs = (torch.load(one / 'epoch_2.pth')['ema_state_dict'] for one in (broken, whole))
    assert equal(mine, theirs)


def test_a_nan_saves_nothing_and_a_first_step_has_nothing(tmp_path):
    data = toy_loader(ToyData(bad=(5,)))
    with pytest.raises(NonFiniteError):
        train_toy(tmp_path, 1, train_dataloader=data)
    gone = Gone()
    gone.gone = True
    with pytest.raises(VideoError):
        train_toy(tmp_path, 1, train_dataloader=toy_loader(gone))
    assert not list(tmp_path.glob('*.pth'))


def agreements(rank):
    flag, said = SignalFlag(), []
    for step in range(4):
        if (rank, step) == (1, 2):  # one of them is told
            flag.number = int(signal.SIGTERM)
        said.append(flag.agreed())
    return said


def test_all_processes_stop_at_the_same_step():
    expected = [0, 0, signal.SIGTERM, signal.SIGTERM]
    assert on_two_processes(agreements) == {0: expected, 1: expected}


@pytest.mark.parametrize(
    'number, seconds, ends',
    [
        (signal.SIGINT, 5, True),
        (signal.SIGINT, 0, False),  # torchrun passes on what the terminal has sent already
        (signal.SIGTERM, 5, False),  # as Slurm sends it, and the launcher again
    ],
)
def test_only_a_second_ctrl_c_ends_at_once(number, seconds, ends):
    flag = SignalFlag()
    flag.install()
    signal.raise_signal(number)
    flag.time -= seconds
    if ends:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    else:
        signal.raise_signal(number)
    assert flag.number == number
    flag.restore()


def test_processes_of_the_loader_end_with_it_and_not_by_signals():
    """Slurm sends SIGTERM to all processes of a job."""
    loader = DataLoader(range(100), num_workers=2, batch_size=1)
    shield_workers(loader)
    before = set(multiprocessing.active_children())
    batches = iter(loader)
    next(batches), next(batches)  # both are at work
    workers = set(multiprocessing.active_children()) - before
    assert len(workers) == 2
    subprocess.run(['kill', '-TERM', *(str(one.pid) for one in workers)], check=True)
    for _ in range(50):
        next(batches)
    assert all(one.is_alive() for one in workers)
    del batches
    for one in workers:
        one.join(600)
        assert one.exitcode == 0


def test_python_can_end_a_worker_that_is_busy():
    """At exit Python sends SIGTERM, and waits."""
    loader = DataLoader(range(100), num_workers=1, batch_size=1)
    shield_workers(loader)
    before = set(multiprocessing.active_children())
    batches = iter(loader)
    next(batches)
    (worker,) = set(multiprocessing.active_children()) - before
    worker.terminate()
    worker.join(600)
    assert worker.exitcode == 0


def test_other_threads_leave_signals_alone():
    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=StopOnSignalHook().before_train, args=(None,))
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGINT) is before


def test_epoch_of_another_length_begins_anew():
    said = []
    runner = SimpleNamespace(
        _resume=True,
        train_loop=None,
        train_dataloader=[0] * 5,
        logger=SimpleNamespace(warning=said.append),
    )
    hook = ResumeEpochHook()
    meta = dict(amd_mm_stopped=dict(batches=3, of=8))
    hook.after_load_checkpoint(runner, dict(meta=meta, optimizer={}))
    hook.before_train_epoch(runner)
    assert 'after 3 of 8 batches' in said[0]
    assert hook.sampler is None
