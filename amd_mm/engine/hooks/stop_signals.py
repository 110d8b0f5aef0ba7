import signal
import threading
from pathlib import Path

import torch
from amd_mm.checkpoints import write_atomically
from amd_mm.checkpoints.io import ATOMIC_BACKEND
from amd_mm.registry import HOOKS
from mmengine.dist import all_reduce, barrier, is_main_process
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import EpochBasedTrainLoop, Runner

from ..signals import SignalFlag, shield_workers
from ..utils import DataBatch
from .resume_epoch import POSITION


@HOOKS.register_module()
class StopOnSignalHook(Hook):
    """Ends a run on Ctrl-C or SIGTERM so that ``--resume`` continues exactly.

    When the optimiser's step is complete, all processes stop, ``stopped_at_iter_N.pth`` is saved,
    and the program exits with 130 (Ctrl-C) or 143 (SIGTERM). A second Ctrl-C exits at once,
    without saving. Outside of the main thread, where Python gets no signals, the hook does nothing.
    """

    priority = 'LOWEST'  # after all other hooks of the step

    def __init__(self) -> None:
        self.flag = SignalFlag()

    def before_train(self, runner: Runner) -> None:
        """Handle signals, before data loaders start their processes."""
        if threading.current_thread() is not threading.main_thread():
            return
        self.flag.install()
        shield_workers(runner.train_dataloader)
        if runner.val_loop is not None:
            shield_workers(runner.val_dataloader)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: DataBatch = None,
        outputs: dict | None = None,
    ) -> None:
        """Stop, except in the last step of an epoch, whose hooks follow."""
        if not isinstance(runner.train_loop, EpochBasedTrainLoop):
            self.stop_if_told(runner, 0)
        elif batch_idx + 1 < len(runner.train_dataloader):
            self.stop_if_told(runner, batch_idx + 1)

    def after_train_epoch(self, runner: Runner) -> None:
        """Stop, except in the last epoch."""
        if runner.epoch + 1 < runner.max_epochs:
            self.stop_if_told(runner, None)

    def after_train(self, runner: Runner) -> None:
        """Restore the handlers, and remove the checkpoints of former stops."""
        self.flag.restore()
        note = Path(runner.work_dir, 'last_checkpoint')
        if is_main_process() and note.is_file():
            for path in note.parent.glob('stopped_at_iter_*.pth'):
                if path.name != Path(note.read_text()).name:
                    path.unlink()

    def agreed(self) -> int:
        """The signal that any process got, on all processes."""
        told = torch.tensor(self.flag.number)
        all_reduce(told, 'max')
        return int(told)

    def stop_if_told(self, runner: Runner, done: int | None) -> None:
        """Save and exit; ``done`` batches of the epoch are finished, None: all."""
        number, wrapper = self.agreed(), runner.optim_wrapper
        # No checkpoint holds the gradients of an unfinished step.
        if not number or (isinstance(wrapper, OptimWrapper) and not wrapper.should_update()):
            return
        steps = runner.iter + (done is not None)  # counted after the hooks of a step
        path = Path(runner.work_dir, f'stopped_at_iter_{steps}.pth')
        runner.save_checkpoint(
            runner.work_dir,
            path.name,
            meta={POSITION: dict(batches=done or 0, of=len(runner.train_dataloader))},
            by_epoch=done is None,
            backend_args=dict(backend=ATOMIC_BACKEND),
        )
        if is_main_process():
            write_atomically(path.with_name('last_checkpoint'), str(path).encode())
        barrier()  # a launcher ends all processes when the first has ended
        runner.logger.info(
            f'{signal.Signals(number).name}: stopped after iteration {steps} and saved {path}. '
            'The same command with --resume continues'
        )
        runner.visualizer.close()
        self.after_train(runner)
        raise SystemExit(128 + number)
