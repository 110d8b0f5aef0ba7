"""Optimiser wrapper with bfloat16 and a check of loss and gradients."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy

import torch
import torch.distributed as torch_dist
from amd_mm.errors import ConfigError
from amd_mm.models.utils import supports_fast_bf16
from amd_mm.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS
from mmengine.dist import all_gather_object, get_rank, is_distributed
from mmengine.logging import print_log
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from torch import Tensor, nn
from torch.optim import Optimizer


class NonFiniteError(RuntimeError):
    """A loss or a gradient norm was NaN or infinite."""


@OPTIM_WRAPPERS.register_module()
class GuardedOptimWrapper(OptimWrapper):
    """MMEngine's wrapper with bfloat16 autocast, which stops a run at a NaN.

    A loss or gradient norm that is NaN or infinite, on any process, stops the run on all processes
    before the optimiser's step. The message names the files of the batch, which
    :class:`FiniteLossHook` provides.

    bfloat16 has the range of float32 and needs no gradient scaler. For float16 use MMEngine's
    ``AmpOptimWrapper``.

    Args:
        optimizer: The optimiser.
        precision: ``bf16``, ``fp32``, or ``auto``: bf16 where the device has units for it.
        accumulative_counts: Batches of an optimiser step.
        clip_grad: As in ``mmengine.OptimWrapper``.

    Raises:
        ConfigError: For another precision.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        precision: str = 'auto',
        accumulative_counts: int = 1,
        clip_grad: dict | None = None,
    ) -> None:
        if precision not in ('auto', 'bf16', 'fp32'):
            raise ConfigError(
                f"optim_wrapper.precision={precision!r} is not 'auto', 'bf16' or 'fp32'; for "
                "float16 use optim_wrapper.type='AmpOptimWrapper'"
            )
        # MMEngine pops a key from clip_grad, which belongs to the config.
        super().__init__(optimizer, accumulative_counts, copy(clip_grad))
        self.device_type = optimizer.param_groups[0]['params'][0].device.type
        if precision == 'auto':
            precision = 'bf16' if supports_fast_bf16(self.device_type) else 'fp32'
            if precision == 'fp32':
                print_log(
                    f'optim_wrapper.precision: float32, because this {self.device_type} has no '
                    'units for bfloat16',
                    'current',
                )
        self.precision = precision
        self.batch_names: list[str] = []

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Add autocast to MMEngine's context."""
        bf16 = self.precision == 'bf16'
        with (
            super().optim_context(model),
            torch.autocast(self.device_type, dtype=torch.bfloat16, enabled=bf16),
        ):
            yield

    def backward(self, loss: Tensor, **kwargs: object) -> None:
        """Compute the gradients of a finite loss.

        Raises:
            NonFiniteError: If the loss of any process is not finite. All gradients are dropped,
                those accumulated before too.
        """
        finite = torch.isfinite(loss.detach()).to(torch.int32)
        if is_distributed():
            # A process that stops alone leaves the others waiting for its gradients.
            torch_dist.all_reduce(finite, op=torch_dist.ReduceOp.MIN)
        super().backward(loss, **kwargs)
        # Read here, after the backward pass was queued, so that the device does not run idle.
        if not finite:
            self._stop('loss', loss.item())

    def _clip_grad(self) -> None:
        super()._clip_grad()
        # MMEngine logs the norm. Clipping by value has none.
        norm = self.message_hub.log_scalars.get(f'train/{self.grad_name}')
        if norm is not None and not math.isfinite(norm.current()):
            self._stop('gradient norm', norm.current())

    def _stop(self, name: str, value: float) -> None:
        self.zero_grad()
        reports = [(get_rank(), value, list(dict.fromkeys(self.batch_names)))]
        if is_distributed():
            reports = all_gather_object(reports[0])
        batches = '; '.join(
            f'rank {rank}: {name} {value}, videos {files or "not known"}'
            for rank, value, files in reports
            if not math.isfinite(value)
        )
        raise NonFiniteError(
            f'the {name} of iteration {self.message_hub.get_info("iter", "(unknown)")} is not '
            f'finite; stopped before the optimiser step. {batches}. Check these videos '
            '(tools/check_videos.py), lower the learning rate, or try '
            'optim_wrapper.precision=fp32; --resume continues from the last checkpoint'
        )

    def __repr__(self) -> str:
        return f'{super().__repr__()}precision: {self.precision}\n'


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class TrainableOnlyConstructor(DefaultOptimWrapperConstructor):
    """MMEngine's constructor, without the parameters of frozen modules.

    MMEngine gives the optimiser all parameters, frozen or not; with ``paramwise_cfg`` it leaves
    frozen ones out, with a warning each.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        # Not empty, so that MMEngine looks at each parameter.
        super().__init__(optim_wrapper_cfg, paramwise_cfg or dict(bypass_duplicate=True))

    def add_params(
        self,
        params: list[dict],
        module: nn.Module,
        prefix: str = '',
        is_dcn_module: int | float | None = None,
    ) -> None:
        """Add a module's parameters if any of them is trained."""
        if any(parameter.requires_grad for parameter in module.parameters()):
            super().add_params(params, module, prefix, is_dcn_module)
