import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import torch
from amd_mm.checkpoints import write_atomically
from amd_mm.checkpoints.io import ATOMIC_BACKEND
from amd_mm.errors import CheckpointError
from amd_mm.registry import HOOKS
from mmengine.dist import all_reduce, barrier, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

from ..interruption import restore_handlers, say, shield_workers, skip_batches, take_signals
from ..utils import DataBatch

_META = 'amd_mm_stopped'
_SAME_KEYSTROKE = 1.0  # seconds: torchrun repeats the Ctrl-C that the terminal sent


class TrainingStopped(SystemExit):
    """A signal stopped the run, and a checkpoint was saved; its code is 128 + signal."""


@HOOKS.register_module()
class StopOnSignalHook(Hook):
    """Ends a run on Ctrl-C or SIGTERM so that ``--resume`` continues exactly.

    When the optimiser's step is complete, all processes stop, ``stopped_at_iter_N.pth`` is saved,
    and the program exits with 130 (Ctrl-C) or 143 (SIGTERM). A second Ctrl-C exits at once,
    without saving.

    A resumed run skips the finished batches of the epoch without reading them. With the samplers
    and seeds of our configs it computes what an uninterrupted run computes: bit for bit on a CPU,
    with ``--deterministic`` on a GPU. If the number of batches changed, the epoch starts again.

    Outside of the main thread, where Python gets no signals, the hook does nothing.
    """

    priority = 'LOWEST'  # after all other hooks of the step

    def __init__(self) -> None:
        self.signal, self.signal_time, self.process = 0, 0.0, os.getpid()
        self.position: dict | None = None  # in the epoch that the run resumes
        self.undo_skip: Callable[[], None] | None = None

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Remember the position of a stopped run.

        Raises:
            CheckpointError: If the checkpoint to resume holds only weights.
        """
        if not runner._resume:
            return
        if not {'meta', 'optimizer'} <= set(checkpoint):
            raise CheckpointError(
                f'{runner._load_from} holds weights, and not the state of a run. Start from them: '
                f'--cfg-options load_from={runner._load_from}, without --resume'
            )
        self.position = checkpoint['meta'].get(_META)

    def before_train(self, runner: Runner) -> None:
        """Install the handlers, before data loaders start their processes."""
        self.signal, self.process = 0, os.getpid()
        if threading.current_thread() is not threading.main_thread():
            return
        take_signals(self.note)
        shield_workers(runner.train_dataloader)
        if runner.val_loop is not None:
            shield_workers(runner.val_dataloader)

    def note(self, number: int, frame: object) -> None:
        """Handle a signal."""
        if os.getpid() != self.process:  # forked
            return
        if not self.signal:
            self.signal, self.signal_time = number, time.monotonic()
            say(
                f'{signal.Signals(number).name}: saving after this step, then stopping (Ctrl-C '
                'again stops at once, without saving)'
            )
        elif number == signal.SIGINT and time.monotonic() - self.signal_time > _SAME_KEYSTROKE:
            signal.signal(number, signal.SIG_DFL)
            os.kill(self.process, number)

    def before_train_epoch(self, runner: Runner) -> None:
        """Skip the batches that a stopped run has finished."""
        position, self.position = self.position, None
        if not position or not position['batches']:
            return
        done, batches = position['batches'], len(runner.train_dataloader)
        if position['of'] != batches:
            runner.logger.warning(
                f'the run was stopped after {done} of {position["of"]} batches of an epoch, which '
                f'now has {batches}: the epoch starts again'
            )
            return
        runner.logger.info(f'skipping the first {done} of {batches} batches, which are finished')
        self.undo_skip = skip_batches(runner.train_loop, done)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: DataBatch = None,
        outputs: dict | None = None,
    ) -> None:
        """Stop, except in the last step of an epoch, whose hooks follow."""
        by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
        if not by_epoch or batch_idx + 1 < len(runner.train_dataloader):
            self.stop_if_told(runner, runner.iter + 1, batch_idx + 1 if by_epoch else 0)

    def after_train_epoch(self, runner: Runner) -> None:
        """Stop, except in the last epoch; remove the checkpoints of former stops."""
        if self.undo_skip is not None:
            self.undo_skip()
            self.undo_skip = None
        if runner.epoch + 1 < runner.max_epochs:
            self.stop_if_told(runner, runner.iter, None)
        self.remove_superseded(runner)

    def after_train(self, runner: Runner) -> None:
        """Restore the handlers."""
        self.remove_superseded(runner)
        restore_handlers()

    def agreed(self) -> int:
        """The signal that any process got, on all processes."""
        told = torch.tensor(self.signal)
        all_reduce(told, 'max')
        return int(told)

    def stop_if_told(self, runner: Runner, steps: int, done: int | None) -> None:
        """Save and exit; ``done`` batches of the epoch are finished, None: all."""
        number, wrapper = self.agreed(), runner.optim_wrapper
        # No checkpoint holds the gradients of an unfinished step. DeepSpeed has no such counter.
        if not number or (hasattr(wrapper, '_inner_count') and not wrapper.should_update()):
            return
        path = os.path.join(runner.work_dir, f'stopped_at_iter_{steps}.pth')
        runner.save_checkpoint(
            runner.work_dir,
            os.path.basename(path),
            meta={_META: dict(batches=done or 0, of=len(runner.train_dataloader))},
            by_epoch=done is None,
            backend_args=dict(backend=ATOMIC_BACKEND),
        )
        if is_main_process():
            write_atomically(os.path.join(runner.work_dir, 'last_checkpoint'), path.encode())
        barrier()  # a launcher ends all processes when the first has ended
        runner.logger.info(
            f'{signal.Signals(number).name}: stopped after iteration {steps} and saved {path}. '
            'The same command with --resume continues'
        )
        runner.visualizer.close()
        restore_handlers()
        raise TrainingStopped(128 + number)

    def remove_superseded(self, runner: Runner) -> None:
        """Remove the checkpoints of stops if ``last_checkpoint`` names a later one."""
        folder = Path(runner.work_dir)
        last = folder / 'last_checkpoint'
        if (
            is_main_process()
            and last.is_file()
            and not last.read_text().rpartition('/')[2].startswith('stopped_at_')
        ):
            for path in folder.glob('stopped_at_iter_*.pth'):
                path.unlink()
