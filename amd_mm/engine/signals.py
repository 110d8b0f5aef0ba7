"""Ctrl-C and SIGTERM: a flag in the training process, a shield around the data loader's."""

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import torch
from mmengine.dist import all_reduce
from torch.utils.data import DataLoader

_SAME_KEYSTROKE = 1.0  # seconds: torchrun repeats the Ctrl-C that the terminal sent


class SignalFlag:
    """Holds the signal that the process got, or 0. A second Ctrl-C is a KeyboardInterrupt."""

    def __init__(self) -> None:
        self.number, self.time = 0, 0.0
        self.former: dict[int, Any] = {}

    def install(self) -> None:
        """Handle the signals, until :meth:`restore`."""
        for number in (signal.SIGINT, signal.SIGTERM):
            self.former[number] = signal.signal(number, self.handle)

    def restore(self) -> None:
        """Undo :meth:`install`."""
        for number, handler in self.former.items():
            signal.signal(number, handler)

    def handle(self, number: int, frame: Any) -> None:
        """Handle a signal."""
        if not self.number:
            self.number, self.time = number, time.monotonic()
            text = 'saving after this step, then stopping. Ctrl-C again stops without saving'
            with suppress(OSError):  # the terminal may be gone; print() may be locked
                os.write(2, f'\n{signal.Signals(number).name}: {text}\n'.encode())
        elif number == signal.SIGINT and time.monotonic() - self.time > _SAME_KEYSTROKE:
            signal.default_int_handler(number, frame)

    def agreed(self) -> int:
        """The signal that any process got, on all processes."""
        told = torch.tensor(self.number)
        all_reduce(told, 'max')
        return int(told)


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
