"""What every video reader answers, and what goes wrong with a video.

The readers themselves are in :mod:`amd_mm.datasets.video_reader`. Whatever
goes wrong with a file, whichever library meets it, comes out as
:class:`UnreadableVideoError` with the path and a reason in one line.
"""

import errno
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

VIDEO_EXTENSIONS = (
    '.3gp',
    '.avi',
    '.flv',
    '.m4v',
    '.mkv',
    '.mov',
    '.mp4',
    '.mpeg',
    '.mpg',
    '.ts',
    '.webm',
    '.wmv',
)
"""Name endings (lower case) that are taken for videos in a folder."""

# How dmlc (decord) begins a message: "[19:24:43] /a/b/file.cc:218: ".
_NATIVE_PREFIX = re.compile(r'\[\d\d:\d\d:\d\d\] \S+:\d+: ')


class UnreadableVideoError(RuntimeError):
    """A video (or a folder of frames) that cannot be read.

    Args:
        path (str): The file, or the folder of frames.
        reason (str): What is wrong with it, in one line.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f'cannot read {path}: {reason}')
        self.path = path
        self.reason = reason

    def __reduce__(self) -> tuple:
        # The default would call the class with the message alone, which
        # breaks on the way back from a worker process.
        return type(self), (self.path, self.reason)


def describe_error(error: BaseException) -> str:
    """The gist of an error in one line of at most 200 characters.

    Decoders put C++ stack traces, times of day and their build machine's
    paths into messages; the first line without those says all there is.
    """
    text = str(error)
    if not isinstance(error, OSError):  # there it lacks the file's name
        text = getattr(error, 'strerror', None) or text
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    first = _NATIVE_PREFIX.sub('', lines[0]) if lines else ''
    return ': '.join(filter(None, (type(error).__name__, first)))[:200]


@contextmanager
def unreadable_on_error(path: str, doing: str) -> Iterator[None]:
    """Turn what a decoder raises into :class:`UnreadableVideoError`.

    A missing package, a lack of memory or of file handles, or a mistake in
    the program is not the video's fault and passes unchanged.
    """
    try:
        yield
    except (UnreadableVideoError, ImportError, MemoryError, AttributeError, NameError, TypeError):
        raise
    except Exception as error:
        if not blames_file(error):
            raise
        raise UnreadableVideoError(path, f'{doing}: {describe_error(error)}') from error


def blames_file(error: Exception) -> bool:
    """Whether an error can be the file's fault, not the machine's."""
    return not (
        isinstance(error, OSError)
        and error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC)
    )


class VideoReader(ABC):
    """Frames of one video file by position.

    Use :func:`open_video` to make one, and close it after use (it is a
    context manager).

    Args:
        path (str): A local video file.
        num_threads (int): Decoding threads. One is best when the data loader
            has many workers.

    Raises:
        UnreadableVideoError: If the file is no video, or has no frames.
        ImportError: If what the reader is made of is not installed.
    """

    package: str  # what the reader imports
    requirement: str  # what to install to have it

    def __init__(self, path: str, num_threads: int = 1) -> None:
        self.path = path
        self.num_threads = num_threads
        self._length = 0
        self._avg_fps = 0.0
        library = self.library()
        self._check_file()
        try:
            with unreadable_on_error(path, 'opening failed'):
                self._open(library)
            if self._length < 1:
                raise UnreadableVideoError(path, 'it has no video frames')
        except BaseException:
            self.close()
            raise

    @classmethod
    def library(cls) -> ModuleType:
        """The package that the reader is made of.

        Raises:
            ImportError: It does not import here; the message says what to
                install.
        """
        try:
            return import_module(cls.package)
        except (ImportError, OSError, RuntimeError) as error:
            raise ImportError(
                f'the video backend needs the package `{cls.package}`, which '
                f'does not import here ({describe_error(error)}). Install it '
                f'with `pip install {cls.requirement}`, or choose another '
                f'backend: {", ".join(BACKENDS)}'
            ) from error

    def _check_file(self) -> None:
        if not os.path.exists(self.path):
            raise UnreadableVideoError(self.path, 'no such file')
        if not os.path.isfile(self.path):
            raise UnreadableVideoError(self.path, 'it is not a file')
        if os.path.getsize(self.path) == 0:
            raise UnreadableVideoError(self.path, 'the file is empty')

    @abstractmethod
    def _open(self, library: ModuleType) -> None:
        """Open the file; set ``_length`` and ``_avg_fps``."""

    @abstractmethod
    def _read_ascending(self, indices: list[int]) -> list[np.ndarray]:
        """Frames at strictly ascending positions within the video."""

    @abstractmethod
    def _release(self) -> None:
        """Let go of the decoder. Called more than once, and half-open."""

    def __len__(self) -> int:
        return self._length

    @property
    def avg_fps(self) -> float:
        """Frames per second; 0 when the file does not say."""
        return self._avg_fps

    def read(self, indices: Sequence[int]) -> list[np.ndarray]:
        """Frames at the given positions, in the given order.

        Positions may repeat and need not be sorted: each frame is decoded
        once, and every array returned is its own memory, so that it may be
        changed in place.

        Args:
            indices (Sequence[int]): Positions in ``[0, len(self))``.

        Returns:
            list[np.ndarray]: RGB frames, uint8, (H, W, 3), as many as asked,
            upright (a rotation noted in the file is applied).

        Raises:
            IndexError: A position is out of range, which is the caller's
                mistake.
            UnreadableVideoError: The file does not give these frames.
        """
        wanted = [int(i) for i in np.asarray(indices).reshape(-1)]
        outside = [i for i in wanted if not 0 <= i < len(self)]
        if outside:
            raise IndexError(
                f'frame {outside[0]} of {self.path} was asked for, which has '
                f'frames 0 to {len(self) - 1}'
            )
        ascending = sorted(set(wanted))
        with unreadable_on_error(self.path, 'decoding failed'):
            frames = dict(zip(ascending, self._read_ascending(ascending)))
        for index in ascending:
            self._check_frame(index, frames.get(index))
        given = set()
        result = []
        for index in wanted:
            frame = frames[index]
            result.append(frame.copy() if index in given else frame)
            given.add(index)
        return result

    def _check_frame(self, index: int, frame: np.ndarray | None) -> None:
        if frame is None:
            raise UnreadableVideoError(
                self.path, f'it ends before frame {index}, though it claims {len(self)} frames'
            )
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.size == 0:
            raise UnreadableVideoError(
                self.path,
                f'frame {index} decodes to {frame.dtype} values '
                f'of shape {frame.shape}, not to an RGB picture',
            )

    def close(self) -> None:
        """Free the decoder and the file handle. May be called twice."""
        self._release()

    def __enter__(self) -> 'VideoReader':
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self.close()


BACKENDS: dict[str, type[VideoReader]] = {}
"""Reader classes by the name that a config gives."""
