from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.distributed as torch_dist
from amd_mm.registry import OPTIM_WRAPPERS
from mmengine.dist import all_gather_object, get_rank, is_distributed
from mmengine.optim import OptimWrapper
from torch import Tensor, nn
from torch.optim import Optimizer

_PRECISIONS = ('bf16', 'fp32')


class NonFiniteError(RuntimeError):
    """A loss or a gradient norm was NaN or infinite."""


class HostCopy:
    """A device scalar on its way to the host, without stopping the queue.

    The copy is put into the device's queue when this is built; :meth:`read`
    waits for that point of the queue only, and not for what was put in later.

    Args:
        value (Tensor): A scalar.
        work (torch.distributed.Work, optional): The collective that makes
            ``value`` complete. Waiting for it is left to a stream of its own,
            so that the model's stream goes on meanwhile.
    """

    _streams: dict[torch.device, torch.cuda.Stream] = {}

    def __init__(self, value: Tensor, work: torch_dist.Work | None = None) -> None:
        self._value = value
        self._event: torch.cuda.Event | None = None
        if not value.is_cuda:
            if work is not None:
                work.wait()
            return
        self._host = torch.empty_like(value, device='cpu', pin_memory=True)
        self._event = torch.cuda.Event()
        side = self._stream(value.device)
        side.wait_stream(torch.cuda.current_stream(value.device))
        with torch.cuda.stream(side):
            if work is not None:
                work.wait()
            self._host.copy_(value, non_blocking=True)
            self._event.record(side)

    @classmethod
    def _stream(cls, device: torch.device) -> torch.cuda.Stream:
        if device not in cls._streams:
            cls._streams[device] = torch.cuda.Stream(device)
        return cls._streams[device]

    def read(self) -> float:
        """The value, waiting for it if need be."""
        if self._event is None:
            return self._value.item()
        self._event.synchronize()
        return self._host.item()


@OPTIM_WRAPPERS.register_module()
class GuardedOptimWrapper(OptimWrapper):
    """MMEngine's wrapper with bf16 and a guard that keeps the device busy.

    - ``precision='bf16'`` runs the forward under ``torch.autocast`` of the
      parameters' own device type (CPU or CUDA). bfloat16 has float32's range,
      so there is no gradient scaler and nothing of it in the checkpoint. For
      float16 take MMEngine's ``AmpOptimWrapper``.
    - A loss that is NaN or infinite stops the run before the optimiser is
      touched, on every process at once, naming the videos of the batch. The
      flag travels to the host on a stream of its own. The host puts the
      backward pass into the device's queue and then waits for the flag, once
      in each step: for the device to have done the forward pass (and the
      flag's all-reduce), not the backward. So the queue does not run dry, and
      the host is never more than a backward pass ahead of the device.
      Gradients accumulated so far are dropped as well.
    - A gradient norm that is NaN or infinite (possible with a finite loss) is
      noticed one step later, when the next forward pass is in the queue, and
      before any checkpoint is written
      (:class:`~amd_mm.engine.FiniteLossHook`).
    - MMEngine turns the gradient norm into a Python float in every step, which
      makes the host wait until the device has done the backward pass, with
      nothing left in its queue. Here
      :class:`~amd_mm.engine.DeferredRuntimeInfoHook` collects the tensor and
      reads it when a log line is due; without that hook it is logged as in
      MMEngine.

    Args:
        optimizer (Optimizer): The optimiser.
        precision (str): ``bf16`` or ``fp32``.
        accumulative_counts (int): Batches whose gradients make one step.
        clip_grad (dict, optional): As in ``mmengine.OptimWrapper``.

    Raises:
        ValueError: For another precision.
        NonFiniteError: From :meth:`update_params` and :meth:`check_pending`.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        precision: str = 'bf16',
        accumulative_counts: int = 1,
        clip_grad: dict | None = None,
    ) -> None:
        if precision not in _PRECISIONS:
            raise ValueError(
                f'optim_wrapper.precision={precision!r} is not one of '
                f'{_PRECISIONS}; for float16 use type="AmpOptimWrapper"'
            )
        # The parent pops a key from clip_grad; the config keeps its own.
        clip_grad = None if clip_grad is None else dict(clip_grad)
        super().__init__(optimizer, accumulative_counts, clip_grad)
        self.precision = precision
        self.defer_grad_norm = False
        self._batch: list[str] = []
        self._grad_norm: Tensor | None = None
        self._pending_norm: HostCopy | None = None
        self._pending_batch: list[str] = []

    @property
    def device_type(self) -> str:
        """Device type of the parameters, e.g. ``cuda``."""
        return self.optimizer.param_groups[0]['params'][0].device.type

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Autocast, and no gradient synchronisation while accumulating."""
        with (
            super().optim_context(model),
            torch.autocast(
                self.device_type, dtype=torch.bfloat16, enabled=self.precision == 'bf16'
            ),
        ):
            yield

    def set_batch(self, names: Sequence[str]) -> None:
        """Say what the coming batch is made of, for error messages.

        Args:
            names (Sequence[str]): Names of videos; repeats are dropped.
        """
        self._batch = list(dict.fromkeys(names))

    def update_params(
        self, loss: Tensor, step_kwargs: dict | None = None, zero_kwargs: dict | None = None
    ) -> None:
        """Backward, and a step if enough batches were accumulated.

        Args:
            loss (Tensor): The scalar to minimise.
            step_kwargs (dict, optional): For ``optimizer.step``.
            zero_kwargs (dict, optional): For ``optimizer.zero_grad``.

        Raises:
            NonFiniteError: If the loss of this batch (on any process) or the
                gradient norm of the step before is not finite. No step is
                made then.
        """
        # First, and so before any collective: every process has the same norm
        # and stops here by itself.
        self.check_pending()
        finite = self._send_finite_flag(loss.detach())
        self.backward(self.scale_loss(loss))
        if not finite.read():
            self.zero_grad(**(zero_kwargs or {}))
            self._report_loss(loss.detach())
        if self.should_update():
            self.step(**(step_kwargs or {}))
            self.zero_grad(**(zero_kwargs or {}))

    def check_pending(self) -> None:
        """Check the gradient norm of the last step, if not done yet.

        Raises:
            NonFiniteError: If it was NaN or infinite.
        """
        if self._pending_norm is None:
            return
        pending, self._pending_norm = self._pending_norm, None
        if not pending.read():
            raise NonFiniteError(
                f'the gradient norm before iteration {self._iteration()} was '
                'not finite though the loss was: the parameters in memory '
                'are spoilt and nothing was written. Resume from the last '
                'checkpoint (--resume); if it happens again, try '
                'optim_wrapper.precision=fp32 or a lower learning rate. '
                f'Videos of that step on rank {get_rank()}: '
                f'{self._pending_batch}'
            )

    def pop_grad_norm(self) -> Tensor | None:
        """The last gradient norm, a scalar, once; None if none was made."""
        norm, self._grad_norm = self._grad_norm, None
        return norm

    def _clip_grad(self) -> None:
        params = [
            param
            for group in self.optimizer.param_groups
            for param in group['params']
            if param.requires_grad and param.grad is not None
        ]
        if not params:
            return
        norm = self.clip_func(params, **self.clip_grad_kwargs)
        if norm is None:  # clipping by value has no norm
            return
        norm = norm.detach()
        self._pending_norm = HostCopy(torch.isfinite(norm))
        self._pending_batch = self._batch
        if self.defer_grad_norm:
            self._grad_norm = norm
        else:
            self.message_hub.update_scalar(f'train/{self.grad_name}', float(norm))

    def _send_finite_flag(self, loss: Tensor) -> HostCopy:
        flag = torch.isfinite(loss).all().to(torch.int32)
        if not is_distributed():
            return HostCopy(flag)
        # All processes must stop: one that stops alone leaves the others in
        # the gradients' all-reduce, with parameters already spoilt by it.
        work = torch_dist.all_reduce(flag, op=torch_dist.ReduceOp.MIN, async_op=True)
        return HostCopy(flag, work)

    def _report_loss(self, loss: Tensor) -> None:
        reports = [(get_rank(), loss.item(), self._batch)]
        if is_distributed():
            reports = all_gather_object(reports[0])
        bad = [
            f'rank {rank}: loss {value}, videos {names or "not known"}'
            for rank, value, names in reports
            if not torch.isfinite(torch.tensor(value))
        ]
        raise NonFiniteError(
            f'the loss of iteration {self._iteration()} is not finite; '
            'stopped before the optimiser step, parameters are those of the '
            'step before. ' + '; '.join(bad) + '. Check those videos '
            '(tools/check_videos.py), lower the learning rate, or try '
            'optim_wrapper.precision=fp32; --resume goes on from the last '
            'checkpoint'
        )

    def _iteration(self) -> str:
        return str(self.message_hub.get_info('iter', '(unknown)'))

    def __repr__(self) -> str:
        return f'{super().__repr__()}precision: {self.precision}\n'
