"""Parts of :class:`StopOnSignalHook`: signals in data loaders, and resuming inside an epoch."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

from mmengine.runner import EpochBasedTrainLoop
from torch.utils.data import DataLoader

SIGNALS = (signal.SIGINT, signal.SIGTERM)  # Ctrl-C; Slurm, torchrun and `kill`
_former_handlers: dict[int, Any] = {}


def take_signals(handler: Callable) -> None:
    """Install a handler for both signals."""
    for number in SIGNALS:
        _former_handlers.setdefault(number, signal.getsignal(number))
        signal.signal(number, handler)


def restore_handlers() -> None:
    """Undo :func:`take_signals`."""
    while _former_handlers:
        number, handler = _former_handlers.popitem()
        # None: a handler that was not set from Python.
        signal.signal(number, handler or signal.SIG_DFL)


def shield_workers(loader: DataLoader) -> None:
    """Let a loader's processes ignore the signals.

    Ctrl-C and Slurm send them to all processes, and a run cannot save after a worker died. The
    workers end with the process that they serve.
    """
    loader.worker_init_fn = partial(_ignore_signals, loader.worker_init_fn)


def _ignore_signals(init: Callable[[int], None] | None, worker: int) -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if init is not None:
        init(worker)


class ShiftedSampler:
    """A sampler without its first indices, of unchanged length."""

    def __init__(self, sampler: Any, start: int) -> None:
        self.sampler, self.start = sampler, start

    def __iter__(self) -> Iterator[Any]:
        indices = iter(self.sampler)
        for _ in range(self.start):
            next(indices, None)
        return indices

    def __len__(self) -> int:
        return len(self.sampler)


def skip_batches(loop: EpochBasedTrainLoop, done: int) -> Callable[[], None]:
    """Let the next epoch begin with batch ``done``, without reading those before.

    Returns:
        A function that undoes it.
    """
    batches: Any = loop.dataloader.batch_sampler
    sampler, run_iter = batches.sampler, loop.run_iter
    batches.sampler = ShiftedSampler(sampler, done * batches.batch_size)
    # The loop counts from 0.
    loop.run_iter = lambda idx, batch: run_iter(idx + done, batch)

    def undo() -> None:
        batches.sampler = sampler
        del loop.run_iter

    return undo


def say(text: str) -> None:
    """Print from a signal handler, where Python's buffers may be locked."""
    with suppress(OSError):  # the terminal may be gone
        os.write(2, f'\n{text}\n'.encode())
