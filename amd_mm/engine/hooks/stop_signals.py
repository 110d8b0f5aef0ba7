import signal
import threading

import torch
from amd_mm.registry import HOOKS
from mmengine.dist import barrier, is_main_process
from mmengine.hooks import EMAHook, Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import Tensor, nn

from ..signals import SignalFlag, shield_workers
from ..utils import DataBatch
from ..work_dir import remove_former_stops, save_position


@HOOKS.register_module()
class StopOnSignalHook(Hook):
    """Ends a run on Ctrl-C or SIGTERM so that ``--resume`` continues exactly.

    When the optimiser's step is complete, all processes stop, ``stopped_at_iter_N.pth`` is saved,
    and the program exits with 130 (Ctrl-C) or 143 (SIGTERM). A second Ctrl-C exits at once,
    without saving. Outside of the main thread, where Python gets no signals, the hook does nothing.

    ``tools/train.py`` saves the same checkpoint when an error ends the run.
    """

    priority = 'LOWEST'  # after all other hooks of the step

    def __init__(self) -> None:
        self.flag = SignalFlag()
        self.finished: dict[str, int] = {}  # epochs, iterations and batches of the epoch so far
        self.validated: Tensor | None = None  # sample of the weights of the last validation

    def before_train(self, runner: Runner) -> None:
        """Handle signals, before data loaders start their processes."""
        if threading.current_thread() is not threading.main_thread():
            return
        self.flag.install()
        shield_workers(runner.train_dataloader)
        if runner.val_loop is not None:
            shield_workers(runner.val_dataloader)

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: DataBatch = None
    ) -> None:
        """Let the loader report a killed process where it waits for a batch, not inside a step."""
        if self.flag.former:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler raises at once

    def before_val_epoch(self, runner: Runner) -> None:
        """Remember the validated weights: EMAHook has swapped in the average."""
        self.validated = _sample(runner.model)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: DataBatch = None,
        outputs: dict | None = None,
    ) -> None:
        """Stop, except in the last step of an epoch, whose hooks follow."""
        epochs = isinstance(runner.train_loop, EpochBasedTrainLoop)
        done = batch_idx + 1 if epochs else 0
        self.finished = dict(epoch=runner.epoch, iter=runner.iter + 1, batches=done)
        if done < len(runner.train_dataloader):
            self.stop_if_told(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        """Stop, except in the last epoch."""
        self.finished = dict(epoch=runner.epoch + 1, iter=runner.iter, batches=0)
        if runner.epoch + 1 < runner.max_epochs:
            self.stop_if_told(runner)

    def after_train(self, runner: Runner) -> None:
        """Restore the handlers, and remove the checkpoints of former stops."""
        self.flag.restore()
        if is_main_process():
            remove_former_stops(runner.work_dir)

    def stop_if_told(self, runner: Runner) -> None:
        """Save and exit, if a process got a signal."""
        number, wrapper = self.flag.agreed(), runner.optim_wrapper
        # No checkpoint holds the gradients of an unfinished step.
        if not number or (isinstance(wrapper, OptimWrapper) and not wrapper.should_update()):
            return
        save_position(runner, self.finished, signal.Signals(number).name)
        barrier()  # a launcher ends all processes when the first has ended
        runner.visualizer.close()
        self.after_train(runner)
        raise SystemExit(128 + number)

    def save_after_error(self, runner: Runner) -> None:
        """Save the finished steps, on the first process, which waits for no other one.

        Not with FSDP: all processes would have to send their shards, and some may have failed.
        """
        if self.finished and isinstance(runner, Runner) and is_main_process():
            if self.validated is not None and torch.equal(self.validated, _sample(runner.model)):
                for one in runner.hooks:
                    if isinstance(one, EMAHook):
                        one.after_val_epoch(runner)  # swaps the trained weights back
            whole = runner.optim_wrapper.should_update()
            reason = 'error' if whole else 'error (the gradients so far are lost)'
            save_position(runner, self.finished, reason)
        self.after_train(runner)


def _sample(model: nn.Module) -> Tensor:
    return torch.cat([one.detach().flatten()[:1].float() for one in model.parameters()])
