from typing import Any

import torch
from amd_mm.registry import HOOKS
from mmengine.hooks import RuntimeInfoHook
from mmengine.runner import Runner
from torch import Tensor

from ..optim_wrappers import GuardedOptimWrapper
from ..utils import DataBatch, logger_is_due

# Steps after which values are read even if no log line is due, so that a very
# long logging interval does not pile up tensors on the device.
_MAX_PENDING_STEPS = 1000


@HOOKS.register_module()
class DeferredRuntimeInfoHook(RuntimeInfoHook):
    """MMEngine's ``RuntimeInfoHook`` without a device wait in every step.

    MMEngine reads every logged value of every step with ``.item()``, so the
    host waits for the device once per value. Here the detached tensors are
    kept and read together, in one copy per data type, when somebody looks: a
    ``LoggerHook`` is due, a checkpoint is written, a validation starts, or the
    epoch or the training ends. What is logged, its smoothing and
    ``scalars.json`` are the same.

    A hook of yours that reads ``train/...`` from the message hub in between
    sees the values up to the last log line.
    """

    def before_train(self, runner: Runner) -> None:
        """Start with nothing kept; gradient norms are kept from here on."""
        super().before_train(runner)
        self._pending: list[tuple[str, Any]] = []
        self._pending_steps = 0
        self._wrapper: GuardedOptimWrapper | None = None
        if isinstance(runner.optim_wrapper, GuardedOptimWrapper):
            self._wrapper = runner.optim_wrapper
            self._wrapper.defer_grad_norm = True

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: DataBatch = None,
        outputs: dict | None = None,
    ) -> None:
        """Keep the step's values; read them if a log line is due."""
        if self._wrapper is not None:
            norm = self._wrapper.pop_grad_norm()
            if norm is not None:
                self._pending.append((self._wrapper.grad_name, norm))
        for name, value in (outputs or {}).items():
            if isinstance(value, Tensor):
                value = value.detach()  # let go of the graph
            self._pending.append((name, value))
        self._pending_steps += 1
        if self._pending_steps >= _MAX_PENDING_STEPS or logger_is_due(runner, batch_idx):
            self.flush(runner)

    def after_train_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Read what the epoch has left."""
        self.flush(runner)

    def before_val(self, runner: Runner) -> None:
        """Read the values up to here, before the validation's are logged."""
        super().before_val(runner)
        self.flush(runner)

    def after_train(self, runner: Runner) -> None:
        """Read what the training has left."""
        self.flush(runner)
        super().after_train(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Put the values up to now into the checkpoint as well."""
        if getattr(self, '_pending', None):
            self.flush(runner)
            # The runner took its copy of the message hub before this call.
            checkpoint['message_hub'] = runner.message_hub.state_dict()

    def flush(self, runner: Runner) -> None:
        """Read everything kept so far into the message hub.

        Args:
            runner (Runner): The runner whose message hub is written.
        """
        pending, self._pending = getattr(self, '_pending', []), []
        self._pending_steps = 0
        values = read_scalars([value for _, value in pending])
        for (name, _), value in zip(pending, values):
            runner.message_hub.update_scalar(f'train/{name}', value)


def read_scalars(values: list[Any]) -> list[Any]:
    """Read many scalars with one device copy per data type.

    Args:
        values (List[Any]): Tensors of one element each, on any device, among
            other things.

    Returns:
        List[Any]: The same with Python numbers in place of the tensors, each
        what its own ``item()`` would return.
    """
    groups: dict[tuple, list[int]] = {}
    for index, value in enumerate(values):
        if isinstance(value, Tensor):
            groups.setdefault((value.device, value.dtype), []).append(index)
    read = list(values)
    for indices in groups.values():
        stacked = torch.stack([values[i].reshape(()) for i in indices])
        for index, number in zip(indices, stacked.tolist()):
            read[index] = number
    return read
