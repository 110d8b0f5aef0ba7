"""Video readers with one interface: PyAV (the default), decord and torchcodec.

A reader has the number of frames and the frame rate of a local file, and decodes the frames at
given positions to RGB arrays. Its package is imported when the first reader is opened.
"""

import errno
import functools
import logging
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
from mmengine.logging import print_log

from ..errors import VideoError
from .frame_index import Frames, frames_from_index

VIDEO_EXTENSIONS = (
    '.3gp', '.avi', '.flv', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.ts', '.webm', '.wmv'
)  # fmt: skip
"""File name endings (lower case) of videos."""

# A seek costs about as much as decoding this many frames: the decoder starts anew.
_SEEK_COST = 8
_INDEXES_KEPT = 32  # about 1 MB for each hour of video
_LARGE = 64 * 2**20  # bytes of a file that takes long to read
_BATCH = 64  # frames that decord and torchcodec decode at once
_OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC)
_DECORD_PREFIX = re.compile(r'\[\d\d:\d\d:\d\d\] \S+:\d+: ')


class UnreadableVideoError(VideoError):
    """A video, an image or a folder of frames that cannot be read.

    Args:
        path: the file or folder.
        reason: one line. It is None, and ``path`` is the whole message, when a data loader
            re-raises a worker's error.
    """

    def __init__(self, path: str, reason: str | None = None) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        if self.reason is None:
            return self.path
        return printable(f'cannot read {self.path}: {self.reason}')


def printable(text: str) -> str:
    """Replace the bytes of a file name that are not UTF-8, so that a log or list can hold it."""
    return text.encode(errors='surrogateescape').decode(errors='replace')


def describe_error(error: BaseException) -> str:
    """Class and first line of an error, without decord's time stamp and source file."""
    text = str(error)
    if not isinstance(error, OSError):  # an OSError's strerror lacks the file
        text = getattr(error, 'strerror', None) or text
    first, *_ = text.strip().splitlines() or ['']
    first = _DECORD_PREFIX.sub('', first)
    return ': '.join(filter(None, (type(error).__name__, first)))[:200]


def is_out_of_resources(error: Exception) -> bool:
    """Whether the machine has no memory, disk space or file handles left."""
    return isinstance(error, OSError) and error.errno in _OUT_OF_RESOURCES


@contextmanager
def unreadable_on_error(path: str, action: str) -> Iterator[None]:
    """Turn a decoder's error into :class:`UnreadableVideoError`.

    Errors that are not the file's fault pass unchanged: a missing package, no memory or file
    handles left, a mistake in the program.
    """
    try:
        yield
    except (UnreadableVideoError, ImportError, MemoryError, AttributeError, NameError, TypeError):
        raise
    except Exception as error:
        if is_out_of_resources(error):
            raise
        raise UnreadableVideoError(path, f'{action}: {describe_error(error)}') from error


class VideoReader(ABC):
    """Frames of one video file by position. Make one with :func:`open_video`, and close it.

    Raises:
        UnreadableVideoError: the file is not a video or has no frames.
        ImportError: the reader's package is not installed.
    """

    package: str  # imported by the reader
    requirement: str  # installed with pip
    length = 0
    avg_fps = 0.0  # 0 if the file does not say
    has_times = True
    resized = False  # a frame was scaled to the size of the first one

    def __init__(self, path: str, num_threads: int = 1) -> None:
        self.path = path
        self.num_threads = num_threads
        library = self.library()
        if not os.path.exists(path):
            raise UnreadableVideoError(path, 'no such file')
        if not os.path.isfile(path):
            raise UnreadableVideoError(path, 'it is not a file')
        if os.path.getsize(path) == 0:
            raise UnreadableVideoError(path, 'the file is empty')
        try:
            with unreadable_on_error(path, 'opening failed'):
                self._open(library)
            if self.length < 1:
                raise UnreadableVideoError(path, 'it has no video frames')
        except BaseException:
            self.close()
            raise

    @classmethod
    def library(cls) -> ModuleType:
        """Import the reader's package."""
        try:
            return import_module(cls.package)
        except (ImportError, OSError, RuntimeError) as error:
            raise ImportError(
                f'this video backend needs the package `{cls.package}`, which cannot be imported '
                f'({describe_error(error)}): pip install {cls.requirement}, or choose another '
                f'backend: {", ".join(BACKENDS)}'
            ) from error

    @abstractmethod
    def _open(self, library: ModuleType) -> None:
        """Open the file and set ``length`` and ``avg_fps``."""

    @abstractmethod
    def _decode(self, indices: list[int]) -> Iterator[np.ndarray]:
        """Frames at strictly ascending positions, of one size; fewer if the file ends early."""

    @abstractmethod
    def close(self) -> None:
        """Free the decoder and the file handle. May be called twice."""

    def __len__(self) -> int:
        return self.length

    @property
    def times(self) -> np.ndarray:
        """Seconds from the first frame to each frame (length, ), ascending.

        Raises:
            UnreadableVideoError: the file has neither timestamps nor a frame rate.
        """
        if self.avg_fps <= 0:
            raise UnreadableVideoError(self.path, 'it has no frame rate, which a time needs')
        return np.arange(self.length) / self.avg_fps

    @property
    def duration(self) -> float:
        """Seconds from the first frame to the end of the last one."""
        return float(self.times[-1]) + (1 / self.avg_fps if self.avg_fps > 0 else 0)

    def positions_at(self, seconds: float | np.ndarray) -> np.ndarray:
        """Positions of the frames that are nearest to times, also if the frame rate varies.

        Args:
            seconds: from the first frame; any shape.
        """
        nearest = np.interp(seconds, self.times, np.arange(self.length))
        return np.rint(nearest.round(6)).astype(np.int64)  # a half stays a half

    def read(self, indices: Sequence[int]) -> list[np.ndarray]:
        """Decode frames, each position once.

        Args:
            indices: positions in ``[0, len(self))`` in any order; they may repeat.

        Returns:
            One RGB uint8 array (H, W, 3) for each position, rotated as the file says. No two
            share memory.

        Raises:
            IndexError: a position is out of range.
            UnreadableVideoError: a frame cannot be decoded.
        """
        wanted = [int(index) for index in np.asarray(indices).reshape(-1)]
        decoded = dict(self.stream(wanted))
        unused = dict(decoded)
        return [unused.pop(index) if index in unused else decoded[index].copy() for index in wanted]

    def stream(self, indices: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Decode frames one by one, so that not all of them need to be in memory.

        Args:
            indices: see :meth:`read`, as for the errors. Finish before the next read.

        Yields:
            Positions in ascending order, each once, and their frames.
        """
        ascending = sorted({int(index) for index in indices})
        for index in ascending:
            if not 0 <= index < len(self):
                raise IndexError(
                    f'frame {index} was asked for, but {self.path} has frames 0 to {len(self) - 1}'
                )
        missing = iter(ascending)
        with unreadable_on_error(self.path, 'decoding failed'):
            for frame in self._decode(ascending):
                yield next(missing), frame
        for index in missing:
            raise UnreadableVideoError(
                self.path,
                f'it ends before frame {index}, though it claims to have {len(self)} frames',
            )

    def __enter__(self) -> 'VideoReader':
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class PyAVReader(VideoReader):
    """Reads everything that ffmpeg reads.

    The index of the file, or else the list of its packets, gives the true number of frames and
    their timestamps. A process keeps those of the last 32 files, as long as size and modification
    time do not change. To read a frame, decoding starts at the last keyframe before it and goes on
    to its timestamp. In H.264 and HEVC, frames that are not asked for and that no other frame
    depends on (many of the B-frames) are not decoded.
    """

    package = 'av'
    requirement = 'av'
    _container: Any = None
    _indexes: dict[tuple, tuple] = {}  # of the files that this process opened last

    def _open(self, library: ModuleType) -> None:
        self._library = library
        # One for all frames: a frame's own to_ndarray sets up a converter, and starts a thread
        # for every core.
        self._reformatter = library.video.reformatter.VideoReformatter()
        has_threads = int(library.__version__.split('.')[0]) >= 17
        self._threads = dict(threads=self.num_threads) if has_threads else {}
        self._restart()
        self._size = self._stream.codec_context.width, self._stream.codec_context.height
        self.avg_fps = float(self._stream.average_rate or self._stream.guessed_rate or 0)
        state = os.stat(self.path)
        file = os.path.abspath(self.path), state.st_size, state.st_mtime_ns
        if file not in self._indexes:
            found = self._list_frames()
            while len(self._indexes) >= _INDEXES_KEPT:
                del self._indexes[next(iter(self._indexes))]
            self._indexes[file] = found
        self.length, self._times, self._key_times = self._indexes[file]
        # AVI has no timestamps: those of B-frames are guessed, and only MPEG-4's are right.
        context = self._stream.codec_context
        guessed = self._container.format.name == 'avi' and context.has_b_frames
        self._seekable = self._times.size > 0 and not (guessed and context.name != 'mpeg4')

    def _list_frames(self) -> tuple[int, np.ndarray, np.ndarray]:
        """Number of frames, and timestamps of all and of keyframes in order.

        There are no timestamps if they do not tell the frames apart: frames are counted then.
        """
        frames = frames_from_index(self.path, self._container, self._stream)
        if frames is None:
            packets = self._list_packets()
            timed = [(time, is_key) for time, is_key in packets if time is not None]
            frames = Frames(*np.array(timed, np.int64).reshape(-1, 2).T)
            length = len(packets)
        else:
            length = len(frames.times)
        times = np.unique(frames.times)
        if len(times) < length:
            return length, np.array([], np.int64), np.array([], np.int64)
        return length, times, np.sort(frames.times[frames.is_key > 0])

    def _list_packets(self) -> list[tuple[int | None, bool]]:
        """Timestamp and whether it is a keyframe, of each frame; reads the whole file."""
        if os.path.getsize(self.path) > _LARGE:
            _warn_of_slow_files(self._container.format.name, self.path)
        self._restart()
        return [
            (packet.pts, packet.is_keyframe)
            for packet in self._container.demux(self._stream)
            if packet.size and not packet.is_discard  # holds a frame to be shown
        ]

    @property
    def times(self) -> np.ndarray:
        """See the base class."""
        if not self._times.size:
            return super().times
        return (self._times - self._times[0]) * float(self._stream.time_base)

    def _restart(self) -> None:
        self.close()
        self._container = self._library.open(self.path)
        cover = self._library.stream.Disposition.attached_pic
        streams = [one for one in self._container.streams.video if not one.disposition & cover]
        if not streams:
            raise UnreadableVideoError(self.path, 'it has no video stream')
        self._stream = streams[0]
        self._stream.codec_context.thread_count = self.num_threads

    def _decode(self, indices: list[int]) -> Iterator[np.ndarray]:
        done = 0
        for frame in self._decode_by_time(indices):
            yield frame
            done += 1
        if done < len(indices):
            yield from self._decode_by_counting(indices[done:])

    def _decode_by_time(self, indices: list[int]) -> Iterator[np.ndarray]:
        """The frames, up to the first that is not where its timestamp says."""
        targets = self._times[indices].tolist() if self._seekable else []
        last = None
        for target in targets:
            # The first one always seeks: the read before may have dropped frames.
            if last is None or self._seek_pays(last, target):
                frames = self._decode_from(target, set(targets))
            frame = next((f for f in frames if f.pts >= target), None)
            if frame is None or frame.pts != target:
                return
            last = target
            yield self._to_rgb(frame)

    def _seek_pays(self, last: int, target: int) -> bool:
        key = self._keyframe_before(target)
        if key is None:
            return False
        before, at = np.searchsorted(self._times, [last, key])
        return bool(at - before > _SEEK_COST)

    def _keyframe_before(self, target: int) -> int | None:
        number = np.searchsorted(self._key_times, target, side='right')
        return int(self._key_times[number - 1]) if number else None

    def _decode_from(self, target: int, wanted: Collection[int]) -> Iterator[Any]:
        """Decode from the target's keyframe on; frames not in ``wanted`` may be left out."""
        key = self._keyframe_before(target)
        if key is None:
            self._restart()
        else:
            self._container.seek(key, stream=self._stream)
        context = self._stream.codec_context
        # Not MPEG-4: in AVI one of its packets may hold two frames.
        may_drop = context.name in ('h264', 'hevc')
        for packet in self._container.demux(self._stream):
            keep = not may_drop or not packet.size or packet.pts in wanted
            context.skip_frame = 'DEFAULT' if keep else 'NONREF'
            for frame in packet.decode():
                if frame.pts is not None:
                    yield frame

    def _decode_by_counting(self, indices: list[int]) -> Iterator[np.ndarray]:
        self._restart()
        wanted = set(indices)
        for position, frame in enumerate(self._container.decode(self._stream)):
            if position in wanted:
                yield self._to_rgb(frame)
            if position == indices[-1]:
                return

    def _to_rgb(self, frame: Any) -> np.ndarray:
        width, height = self._size  # of the first frame; later ones may differ
        self.resized |= (frame.width, frame.height) != self._size
        image = self._reformatter.reformat(
            frame, width, height, format='rgb24', **self._threads
        ).to_ndarray()
        matrix = frame.side_data.get(self._library.sidedata.sidedata.Type.DISPLAYMATRIX)
        if matrix is not None:
            a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5]  # x' = ax + cy, y' = bx + dy
            if abs(a) < abs(b):  # a quarter turn
                image, a, d = image.swapaxes(0, 1), c, b
            image = image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
        return np.ascontiguousarray(image)

    def close(self) -> None:
        """Close the file."""
        container, self._container, self._stream = self._container, None, None
        if container is not None:
            container.close()


@functools.cache  # once for each kind of file
def _warn_of_slow_files(kind: str, path: str) -> None:
    print_log(
        f'{printable(path)} ({kind}) has no complete index of its frames: each process reads '
        'the whole file. `ffmpeg -i OLD -c copy NEW.mp4` makes such files faster without a loss',
        'current',
        logging.WARNING,
    )


class DecordReader(VideoReader):
    """decord.

    decord silently seeks to wrong frames in AVI, WMV and MPEG program streams, and in mp4 files
    whose edit list hides the first frames. These files are decoded from the beginning. In files
    with open groups of pictures (x265's default), frames before a keyframe may still be up to
    four frames late; PyAV reads them correctly.
    """

    package = 'decord'
    requirement = 'decord'
    _decoder: Any = None

    def _open(self, library: ModuleType) -> None:
        library.logging.set_level(library.logging.QUIET)
        if _is_transport_stream(self.path):
            raise UnreadableVideoError(
                self.path,
                'decord misreads MPEG transport streams: use backend="pyav", or re-encode to mp4',
            )
        self._library = library
        self._restart()
        times = self._decoder.get_frame_timestamp(list(range(len(self._decoder))))[:, 0]
        sane = bool((np.abs(times) < 1e6).all())
        hidden = int((times < 0).sum()) if sane else 0  # decoded for later frames, never shown
        self.length = len(self._decoder) - hidden
        self.avg_fps = float(self._decoder.get_avg_fps())
        ascending = bool((np.diff(times) > 0).all())
        self._seekable = sane and hidden == 0 and ascending and _has_seek_table(self.path)
        self._times = times[hidden:] - times[hidden] if sane and ascending and self.length else None

    @property
    def times(self) -> np.ndarray:
        """See the base class."""
        return super().times if self._times is None else self._times

    def _restart(self) -> None:
        self._decoder = self._library.VideoReader(self.path, num_threads=self.num_threads)
        self._position = 0

    def _decode(self, indices: list[int]) -> Iterator[np.ndarray]:
        if self._seekable:
            for start in range(0, len(indices), _BATCH):
                yield from self._decoder.get_batch(indices[start : start + _BATCH]).asnumpy()
            return
        if indices[0] < self._position:
            self._restart()
        for index in indices:
            try:
                for _ in range(index - self._position):  # skip_frames would seek
                    self._decoder.next()
                frame = self._decoder.next().asnumpy()
            except StopIteration:
                return
            self._position = index + 1
            yield frame

    def close(self) -> None:
        """Free the decoder."""
        self._decoder = None


class TorchCodecReader(VideoReader):
    """torchcodec. AVI and MPEG program streams, where it seeks wrongly, are read in order.

    Its ``times`` are those of a constant frame rate.
    """

    package = 'torchcodec.decoders'
    requirement = 'torchcodec'
    _decoder: Any = None

    @classmethod
    def library(cls) -> ModuleType:
        """Import the package, and check that it found FFmpeg's libraries."""
        library = super().library()
        if getattr(import_module('torchcodec'), 'ffmpeg_major_version', 0) is None:
            raise ImportError(
                'torchcodec finds no libraries of FFmpeg (Debian, Ubuntu: apt-get install ffmpeg)'
            )
        return library

    def _open(self, library: ModuleType) -> None:
        self._decoder = library.VideoDecoder(
            self.path,
            dimension_order='NHWC',
            num_ffmpeg_threads=self.num_threads,
            seek_mode='exact',
        )
        self.length = len(self._decoder)
        self.avg_fps = float(self._decoder.metadata.average_fps or 0)

    def _decode(self, indices: list[int]) -> Iterator[np.ndarray]:
        if _has_seek_table(self.path):
            for start in range(0, len(indices), _BATCH):
                yield from self._decoder.get_frames_at(indices[start : start + _BATCH]).data.numpy()
            return
        wanted = set(indices)
        for index in range(indices[-1] + 1):
            frame = self._decoder.get_frame_at(index)
            if index in wanted:
                yield frame.data.numpy()

    def close(self) -> None:
        """Free the decoder."""
        self._decoder = None


def _has_seek_table(path: str) -> bool:
    """Whether the first bytes are those of the mp4 or the Matroska family."""
    with open(path, 'rb') as file:
        head = file.read(12)
    boxes = (b'ftyp', b'moov', b'mdat', b'wide', b'free', b'skip')
    return head[4:8] in boxes or head[:4] == b'\x1aE\xdf\xa3'


def _is_transport_stream(path: str) -> bool:
    """Whether the file consists of MPEG-TS packets of 188 bytes."""
    with open(path, 'rb') as file:
        head = file.read(188 * 3 + 1)
    return len(head) > 188 * 3 and all(head[188 * i] == 0x47 for i in range(4))


BACKENDS: dict[str, type[VideoReader]] = dict(
    pyav=PyAVReader, decord=DecordReader, torchcodec=TorchCodecReader
)
"""Reader classes by the name that a config gives."""


def available_backends() -> tuple[str, ...]:
    """Names of the backends whose package can be imported."""
    names = []
    for name, reader in BACKENDS.items():
        try:
            reader.library()
        except ImportError:
            continue
        names.append(name)
    return tuple(names)


def reader_class(backend: str) -> type[VideoReader]:
    """The reader of a backend.

    Raises:
        ValueError: there is no such backend.
    """
    if backend not in BACKENDS:
        raise ValueError(f'unknown video backend {backend!r}: choose one of {", ".join(BACKENDS)}')
    return BACKENDS[backend]


def open_video(path: str, backend: str = 'pyav', num_threads: int = 1) -> VideoReader:
    """Open a local video file; close the reader after use (it is a context manager).

    Args:
        path: the file.
        backend: ``'pyav'``, ``'decord'`` or ``'torchcodec'``.
        num_threads: decoding threads.

    Raises:
        ValueError: there is no such backend.
        ImportError: the backend's package is not installed.
        UnreadableVideoError: the file is missing, empty, not a video, or has no frames.
    """
    return reader_class(backend)(str(path), num_threads)
