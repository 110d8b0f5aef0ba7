"""Parts of :class:`StopOnSignalHook`: signals in data loaders, and resuming inside an epoch."""

import os
import signal
import threading
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
    """Let only this process end the loader's processes.

    Ctrl-C and Slurm signal all processes, and a run cannot save after a worker died. Python ends
    remaining workers by SIGTERM and waits for them, so they cannot just ignore it.
    """
    loader.worker_init_fn = partial(_shield, os.getpid(), loader.worker_init_fn)


def _shield(parent: int, init: Callable[[int], None] | None, worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, 'sigwaitinfo'):  # not on macOS and Windows
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_exit_when_told, args=(parent,), daemon=True).start()
    if init is not None:
        init(worker)


def _exit_when_told(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)


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
