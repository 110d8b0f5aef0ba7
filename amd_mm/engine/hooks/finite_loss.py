import logging

from amd_mm.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner

from ..optim_wrappers import GuardedOptimWrapper
from ..utils import DataBatch, batch_names


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Tells the guard of :class:`GuardedOptimWrapper` the videos of a batch.

    The guard itself is in the optimiser wrapper, because it must act between
    the backward pass and the optimiser's step. This hook hands it the names
    for its message, and makes sure that a gradient norm still on its way is
    looked at before a checkpoint is written or an epoch ends.

    With another optimiser wrapper there is no guard; the hook says so once.
    """

    # Before the checkpoint hook (VERY_LOW).
    priority = 'ABOVE_NORMAL'

    def before_train(self, runner: Runner) -> None:
        """Find the guard; warn if the optimiser wrapper has none."""
        self._wrapper = runner.optim_wrapper
        if not isinstance(self._wrapper, GuardedOptimWrapper):
            self._wrapper = None
            print_log(
                f'{type(runner.optim_wrapper).__name__} does not check the '
                'loss: a run that turns to NaN goes on. Take '
                'optim_wrapper.type=amd_mm.GuardedOptimWrapper for that',
                logger='current',
                level=logging.WARNING,
            )

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: DataBatch = None
    ) -> None:
        """Tell the guard which videos the step is about to train on."""
        if self._wrapper is not None:
            self._wrapper.set_batch(batch_names(data_batch))

    def after_train_epoch(self, runner: Runner) -> None:
        """Look at the gradient norm that is still on its way."""
        self._check()

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Look at the last gradient norm, so that no NaN is saved."""
        self._check()

    def _check(self) -> None:
        if self._wrapper is not None:
            self._wrapper.check_pending()
