import logging

from amd_mm.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner

from ..optim_wrapper import GuardedOptimWrapper
from ..utils import DataBatch, batch_names


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Tells :class:`GuardedOptimWrapper` the files of a batch, for its error message."""

    def before_train(self, runner: Runner) -> None:
        """Warn if the optimiser wrapper does not check the loss."""
        if not isinstance(runner.optim_wrapper, GuardedOptimWrapper):
            print_log(
                f'{type(runner.optim_wrapper).__name__} does not check the loss: a run continues '
                'with NaN. Use optim_wrapper.type=amd_mm.GuardedOptimWrapper',
                logger='current',
                level=logging.WARNING,
            )

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: DataBatch = None
    ) -> None:
        """Note the names."""
        runner.optim_wrapper.batch_names = batch_names(data_batch)
