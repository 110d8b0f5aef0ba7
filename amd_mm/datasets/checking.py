"""Checking many videos, each in a process that may crash or hang."""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

from .video_reader import UnreadableVideoError, open_video, reader_class


class CheckSettings(NamedTuple):
    """How each video is checked.

    Attributes:
        backend (str): As for ``VideoInit``.
        min_frames (int): Fewer frames make a video unreadable.
        full (bool): Decode all frames, not just first, middle and last.
        timeout (float): Seconds that one video may take.
    """

    backend: str = 'decord'
    min_frames: int = 1
    full: bool = False
    timeout: float = 60.0


def check_video(path: str, settings: CheckSettings) -> str | None:
    """Open a video and decode some or all of its frames.

    Args:
        path (str): The file.
        settings (CheckSettings): How. The timeout is not looked at here.

    Returns:
        str or None: Why it is unreadable; None when it is fine.
    """
    try:
        with open_video(path, settings.backend) as reader:
            length = len(reader)
            if length < settings.min_frames:
                return f'it has {length} frames, fewer than min_frames={settings.min_frames}'
            if settings.full:
                # In portions: an hour of video does not fit into memory.
                for start in range(0, length, 64):
                    reader.read(range(start, min(start + 64, length)))
            else:
                reader.read([0, length // 2, length - 1])
    except UnreadableVideoError as error:
        return error.reason
    return None


def _work(connection: Connection, settings: CheckSettings) -> None:
    """A worker process: take paths, answer with reasons."""
    # Ctrl-C reaches all processes; a worker that ended by it would look like
    # a decoder that crashed. It is ended by the process that started it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        while True:
            path = connection.recv()
            connection.send(check_video(path, settings))
    except (EOFError, BrokenPipeError):
        pass


class _Worker:
    """A worker process and what it is busy with."""

    def __init__(
        self,
        context: Any,  # of multiprocessing, with Process and Pipe
        settings: CheckSettings,
    ) -> None:
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, settings), daemon=True)
        self.process.start()
        theirs.close()  # so that its death is seen as the end of the pipe
        self.index: int | None = None
        self.deadline = 0.0

    def give(self, index: int, path: str, timeout: float) -> bool:
        """Have a video checked; False if the process died while idle."""
        try:
            self.connection.send(path)
        except (BrokenPipeError, ConnectionResetError):
            return False
        self.index, self.deadline = index, time.monotonic() + timeout
        return True

    def result(self) -> tuple[bool, str | None]:
        """Whether it lives, and its answer."""
        try:
            return True, self.connection.recv()
        except (EOFError, ConnectionResetError):
            self.process.join()
            code = self.process.exitcode
            how = f'signal {-code}' if code < 0 else f'exit code {code}'
            return False, f'the decoder crashed on it ({how})'

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()


def check_videos(
    paths: Sequence[str], settings: CheckSettings, workers: int = 0
) -> Iterator[tuple[int, str | None]]:
    """Check many videos at once.

    Each worker process has one video at a time; when it crashes or hangs,
    that video is unreadable and the others are not affected.

    Args:
        paths (Sequence[str]): The files.
        settings (CheckSettings): How.
        workers (int): Processes; 0 stands for one per CPU core that this
            process may use. Defaults to 0.

    Yields:
        tuple: Position in ``paths`` and the reason why it is unreadable, or
        None; in the order in which the checks end.
    """
    if workers < 0 or settings.timeout <= 0:
        raise ValueError(
            'workers must not be negative and the timeout must '
            f'be positive, got {workers}, {settings.timeout}'
        )
    # A bad name or a missing package would else count as bad videos.
    reader_class(settings.backend).library()
    count = min(workers or _usable_cores(), max(len(paths), 1))
    context = _process_context()
    waiting = list(range(len(paths)))[::-1]
    crew: list[_Worker] = []
    try:
        while waiting or any(worker.index is not None for worker in crew):
            while waiting and len(crew) < count:
                crew.append(_Worker(context, settings))
            for worker in [w for w in crew if w.index is None][: len(waiting)]:
                if worker.give(waiting[-1], paths[waiting[-1]], settings.timeout):
                    waiting.pop()
                else:  # another takes its place
                    worker.stop()
                    crew.remove(worker)
            for worker, answer, alive in _next_answers(crew, settings):
                assert worker.index is not None  # it was busy
                yield worker.index, answer
                worker.index = None
                if not alive:
                    worker.stop()
                    crew.remove(worker)
    finally:
        for worker in crew:
            worker.stop()


def _next_answers(
    crew: list[_Worker], settings: CheckSettings
) -> list[tuple[_Worker, str | None, bool]]:
    """Wait for answers or for the first deadline."""
    busy: dict[Any, _Worker] = {
        worker.connection: worker for worker in crew if worker.index is not None
    }
    if not busy:  # all had died while idle
        return []
    first = min(worker.deadline for worker in busy.values())
    ready = wait(list(busy), timeout=max(0.0, first - time.monotonic()))
    answers = []
    for connection in ready:
        alive, answer = busy[connection].result()
        answers.append((busy[connection], answer, alive))
    for connection, worker in busy.items():
        if connection not in ready and time.monotonic() >= worker.deadline:
            reason = f'decoding took longer than {settings.timeout:g} s'
            answers.append((worker, reason, False))
    return answers


def _usable_cores() -> int:
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _process_context() -> Any:
    """Forked processes where there are: they start at once."""
    methods = multiprocessing.get_all_start_methods()
    return multiprocessing.get_context('fork' if 'fork' in methods else None)
