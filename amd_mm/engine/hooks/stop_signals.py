"""Ctrl-C and SIGTERM end a training run with a checkpoint."""

import os
import os.path as osp
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import Any

import torch
import torch.distributed as torch_dist
from amd_mm.checkpoints import write_atomically
from amd_mm.checkpoints.io import ATOMIC_BACKEND
from amd_mm.registry import HOOKS
from mmengine.dist import barrier, get_comm_device, get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch.utils.data import DataLoader

from ..optim_wrappers.guarded import HostCopy
from ..utils import DataBatch

# Ctrl-C, and what Slurm, torchrun and `kill` send.
_SIGNALS = ('SIGINT', 'SIGTERM')
# Seconds: torchrun passes on a Ctrl-C that the terminal has sent already.
_ONE_KEYSTROKE = 1.0
_META = 'amd_mm_stopped'

_previous: dict[int, Any] = {}


def restore_handlers() -> None:
    """Give back the signals that a :class:`StopOnSignalHook` has taken."""
    while _previous:
        number, handler = _previous.popitem()
        # None: it was not Python that set it.
        signal.signal(number, handler or signal.SIG_DFL)


class TrainingStopped(SystemExit):
    """The run was asked to stop and has saved a checkpoint.

    A ``SystemExit`` with 128 and the number of the signal, as in a shell:
    whichever program runs the training ends without a traceback.
    """


@HOOKS.register_module()
class StopOnSignalHook(Hook):
    """Ends the run on Ctrl-C or SIGTERM so that it can go on exactly there.

    A signal is noted, and when the step of the optimiser is done (with
    ``accumulative_counts`` after the last of its batches, since no checkpoint
    holds the gradients of those before)

    - all processes agree to stop. It is enough that one of them was told.
      They exchange one number a step, on the way while the next step is
      computed (so with several GPUs they stop one step later): nobody waits;
    - a checkpoint ``stopped_at_iter_N.pth`` is saved, and
      ``last_checkpoint`` names it;
    - the program ends with exit code 130 (Ctrl-C) or 143 (SIGTERM).

    A run resumed from it begins with the batch that would have been the next
    one: those of the epoch that are done are skipped without being read. With
    the samplers and seeds of this package's configs it computes what an
    uninterrupted run would have computed: bit for bit on a CPU, and on a GPU
    as far as its kernels are deterministic, which ``--deterministic`` asks
    for. (After ``IterBasedTrainLoop``, MMEngine itself skips, by reading.) If
    the number of batches is not what it was (another batch size, another
    number of processes, other data), the epoch begins anew and the log says
    so. When a later checkpoint is there, the one of the stop is removed.

    A second Ctrl-C ends at once and saves nothing. A signal during validation
    counts after the first step of the next epoch. Processes of data loaders
    leave signals to the process that they serve: Slurm sends SIGTERM to all,
    and a loader that died would take the run with it before it has saved.

    Outside of the main thread, where Python can take no signals, and for
    signals that the platform does not have, the hook does nothing.
    """

    # After everything else has done its part of the step.
    priority = 'LOWEST'

    def __init__(self) -> None:
        self._told = 0
        self._told_at = 0.0
        self._process = 0
        self._news: HostCopy | None = None
        self._stopped: dict | None = None
        self._undo: Callable[[], None] | None = None

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Remember where in its epoch a run was stopped.

        Args:
            runner (Runner): The runner.
            checkpoint (dict): What was loaded.
        """
        if runner._resume:
            self._stopped = checkpoint.get('meta', {}).get(_META)

    def before_train(self, runner: Runner) -> None:
        """Take the signals, before the data loader starts its processes.

        Args:
            runner (Runner): The runner.
        """
        self._told, self._process = 0, os.getpid()
        if threading.current_thread() is not threading.main_thread():
            return
        for name in _SIGNALS:
            number = getattr(signal, name, None)
            if number is not None:
                _previous.setdefault(number, signal.getsignal(number))
                signal.signal(number, self._note)
        _let_workers_live(runner.train_dataloader)
        if runner.val_loop is not None:
            _let_workers_live(runner.val_dataloader)

    def _note(self, number: int, frame: FrameType | None) -> None:
        """What happens the moment that a signal comes."""
        if os.getpid() != self._process:  # in a process forked from this one
            return
        again = time.monotonic() - self._told_at > _ONE_KEYSTROKE
        if not self._told:
            self._told, self._told_at = number, time.monotonic()
            _say(
                f'{signal.Signals(number).name}: saving after this step, then '
                'stopping (Ctrl-C again: at once, without saving)'
            )
        elif number == signal.SIGINT and again:
            signal.signal(number, signal.SIG_DFL)
            os.kill(self._process, number)

    def before_train_epoch(self, runner: Runner) -> None:
        """Skip what is done of the epoch in which the run was stopped.

        Args:
            runner (Runner): The runner.
        """
        stopped, self._stopped = self._stopped, None
        if not stopped or not stopped['batches']:
            return
        loader, done = runner.train_dataloader, stopped['batches']
        if stopped['of'] != len(loader):
            runner.logger.warning(
                f'the run was stopped after {done} of {stopped["of"]} batches '
                f'of an epoch, which now has {len(loader)}: this epoch begins '
                'anew'
            )
            return
        runner.logger.info(
            f'the first {done} of {len(loader)} batches of this epoch were '
            'done before the run was stopped'
        )
        self._undo = _begin_at(runner.train_loop, loader, done)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: DataBatch = None,
        outputs: dict | None = None,
    ) -> None:
        """Stop if asked to; at the end of an epoch, after its hooks.

        Args:
            runner (Runner): The runner.
            batch_idx (int): Number of the batch in the epoch.
            data_batch (dict, optional): Not used.
            outputs (dict, optional): Not used.

        Raises:
            TrainingStopped: When the checkpoint is saved.
        """
        by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
        if by_epoch and batch_idx + 1 == len(runner.train_dataloader):
            return
        number = self._agreed()
        if number and _step_is_done(runner):
            done = batch_idx + 1 if by_epoch else 0
            self._stop(runner, number, runner.iter + 1, done)

    def after_train_epoch(self, runner: Runner) -> None:
        """Stop if asked to in the last step; tidy up.

        Args:
            runner (Runner): The runner.

        Raises:
            TrainingStopped: When the checkpoint is saved.
        """
        if self._undo is not None:
            self._undo()
            self._undo = None
        if runner.epoch + 1 < runner.max_epochs:
            number = self._agreed()
            if number and _step_is_done(runner):
                self._stop(runner, number, runner.iter, None)
        self._remove_superseded(runner)

    def after_train(self, runner: Runner) -> None:
        """Give the signals back.

        Args:
            runner (Runner): The runner.
        """
        self._remove_superseded(runner)
        restore_handlers()

    def _agreed(self) -> int:
        """The signal that any process was told; one step late with GPUs."""
        if get_world_size() == 1:
            return self._told
        news = torch.tensor(float(self._told), device=get_comm_device())
        work = torch_dist.all_reduce(news, torch_dist.ReduceOp.MAX, async_op=True)
        last, self._news = self._news, HostCopy(news, work)
        if not news.is_cuda:
            last = self._news
        return int(last.read()) if last is not None else 0

    def _stop(self, runner: Runner, number: int, steps: int, done: int | None) -> None:
        """Save and end; ``done`` batches of the epoch, None for all."""
        name = f'stopped_at_iter_{steps}.pth'
        path = osp.join(runner.work_dir, name)
        batches = dict(batches=done or 0, of=len(runner.train_dataloader))
        runner.save_checkpoint(
            runner.work_dir,
            name,
            meta={_META: batches},
            by_epoch=done is None,
            backend_args=dict(backend=ATOMIC_BACKEND),
        )
        if is_main_process():
            write_atomically(_note_of(runner), path.encode())
        # Whoever ended first would have the launcher end the others.
        barrier()
        runner.logger.info(
            f'{signal.Signals(number).name}: stopped after iteration {steps} '
            f'and saved {path}. The same command with --resume goes on from '
            'there'
        )
        runner.visualizer.close()
        restore_handlers()
        raise TrainingStopped(128 + number)

    def _remove_superseded(self, runner: Runner) -> None:
        """Remove checkpoints of stops, once a later one is complete."""
        if not is_main_process() or not osp.isfile(_note_of(runner)):
            return
        with open(_note_of(runner), encoding='utf-8') as note:
            last = osp.basename(note.read().strip())
        if last.startswith('stopped_at_iter_'):
            return
        for name in os.listdir(runner.work_dir):
            if name.startswith('stopped_at_iter_') and name.endswith('.pth'):
                os.remove(osp.join(runner.work_dir, name))


def _step_is_done(runner: Runner) -> bool:
    """Whether no gradients wait for more batches; on all processes alike."""
    wrapper = runner.optim_wrapper
    # Several optimisers, and DeepSpeed's, do not accumulate in this way.
    return not hasattr(wrapper, '_inner_count') or wrapper.should_update()


def _note_of(runner: Runner) -> str:
    return osp.join(runner.work_dir, 'last_checkpoint')


def _say(text: str) -> None:
    """Print from within a signal handler, past buffers and locks."""
    with suppress(OSError):
        os.write(2, f'\n{text}\n'.encode())


class _From:
    """A sampler without its first so many indices, of the same length."""

    def __init__(self, sampler: Any, start: int) -> None:
        self._sampler, self._start = sampler, start

    def __iter__(self) -> Iterator[Any]:
        indices = iter(self._sampler)
        for _ in range(self._start):
            next(indices, None)
        return indices

    def __len__(self) -> int:
        return len(self._sampler)


def _begin_at(loop: Any, loader: DataLoader, done: int) -> Callable[[], None]:
    """Let the next epoch begin with batch ``done``; returns what undoes it."""
    batches: Any = loader.batch_sampler
    sampler, run_iter = batches.sampler, loop.run_iter
    batches.sampler = _From(sampler, done * batches.batch_size)
    # The loop counts from 0 whatever it is given.
    loop.run_iter = lambda idx, batch: run_iter(idx + done, batch)

    def undo() -> None:
        batches.sampler = sampler
        del loop.run_iter

    return undo


def _let_workers_live(loader: DataLoader) -> None:
    loader.worker_init_fn = partial(_leave_signals, os.getpid(), loader.worker_init_fn)


def _leave_signals(parent: int, before: Callable[[int], None] | None, worker: int) -> None:
    """In a process of a data loader: only its parent may end it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, 'sigwaitinfo'):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_when_told, args=(parent,), daemon=True).start()
    if before is not None:
        before(worker)


def _end_when_told(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)
