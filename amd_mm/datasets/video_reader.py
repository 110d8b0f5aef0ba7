"""Video readers with one interface over decord, PyAV, OpenCV and torchcodec.

Every reader answers the same questions in the same way
(:class:`~amd_mm.datasets.reader_base.VideoReader`): how many frames, how
fast, and the frames at given positions as RGB arrays.

Only local files are read (paths, not MMEngine's other file backends): seeking
in a remote object costs more than copying it first.

The packages are imported when a reader is first made, so none of them has to
be installed but the one in use.
"""

import os
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np

from .reader_base import (
    BACKENDS,
    VIDEO_EXTENSIONS,
    UnreadableVideoError,
    VideoReader,
    blames_file,
    describe_error,
    unreadable_on_error,
)

__all__ = [
    'BACKENDS',
    'VIDEO_EXTENSIONS',
    'DecordReader',
    'OpenCVReader',
    'PyAVReader',
    'TorchCodecReader',
    'UnreadableVideoError',
    'VideoReader',
    'available_backends',
    'blames_file',
    'describe_error',
    'open_video',
    'reader_class',
    'unreadable_on_error',
]

# OpenCV reads this once, when its ffmpeg part starts; -8 is AV_LOG_QUIET.
os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')

# Frames that a seek to a keyframe has to save: it costs about as many, for
# the decoder begins anew.
_WORTH_A_SEEK = 8

_STDERR_LOCK = threading.Lock()


@contextmanager
def _without_native_stderr() -> Iterator[None]:
    """Send what C++ code writes to file descriptor 2 nowhere, for a moment.

    decord reports a file it cannot open on stderr, past Python's and
    ffmpeg's logging, and raises as well; the second is enough.
    """
    with _STDERR_LOCK:
        try:
            saved = os.dup(2)
        except OSError:  # stderr is closed: nothing to keep quiet
            yield
            return
        sink = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(sink, 2)
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            os.close(sink)


def _has_seek_table(path: str) -> bool:
    """Whether the file is of the mp4 or the Matroska family.

    Told by its first bytes: these have timestamps and an index by which
    decord finds frames exactly.
    """
    with open(path, 'rb') as file:
        head = file.read(12)
    return (
        head[4:8] in (b'ftyp', b'moov', b'mdat', b'wide', b'free', b'skip')
        or head[:4] == b'\x1aE\xdf\xa3'
    )


class DecordReader(VideoReader):
    """decord: a reader made for random access.

    decord seeks by timestamps. In AVI, WMV and MPEG program streams, and in
    mp4 files that were cut without re-encoding (an edit list hides their
    first frames), that lands on wrong frames, silently. Such files are
    decoded from the beginning instead, which gives the right ones. What is
    left: in mp4 and Matroska files with open groups of pictures (x265's
    default) a few frames before a keyframe may come out one to four frames
    late; PyAV gets those right. And decord decodes ahead in a thread: in a
    file that is damaged somewhere, whether frames shortly before the damage
    can be read is a matter of timing.
    """

    package = 'decord'
    requirement = 'decord'
    _decoder: Any = None

    def _open(self, library: ModuleType) -> None:
        library.logging.set_level(library.logging.QUIET)
        if _is_transport_stream(self.path):
            raise UnreadableVideoError(
                self.path,
                'decord does not read MPEG transport streams '
                "correctly; use backend='pyav' or re-encode to mp4",
            )
        self._library_module = library
        self._restart()
        times = self._decoder.get_frame_timestamp(list(range(len(self._decoder))))[:, 0]
        sane = bool((np.abs(times) < 1e6).all())
        # Frames before time 0 are decoded for later ones, but never shown.
        hidden = int((times < 0).sum()) if sane else 0
        self._length = len(self._decoder) - hidden
        self._seekable = (
            sane and hidden == 0 and bool((np.diff(times) > 0).all()) and _has_seek_table(self.path)
        )
        self._avg_fps = float(self._decoder.get_avg_fps())

    def _restart(self) -> None:
        with _without_native_stderr():
            try:
                self._decoder = self._library_module.VideoReader(
                    self.path, num_threads=self.num_threads
                )
            except RuntimeError as error:  # says no more than "Error"
                raise UnreadableVideoError(self.path, 'decord cannot open it as a video') from error
        self._position = 0

    def _read_ascending(self, indices: list[int]) -> list[np.ndarray]:
        if self._seekable:
            return list(self._decoder.get_batch(indices).asnumpy())
        if indices and indices[0] < self._position:
            self._restart()
        frames = []
        for index in indices:
            try:
                # Not skip_frames: it seeks where there are keyframes.
                for _ in range(index - self._position):
                    self._decoder.next()
                frames.append(self._decoder.next().asnumpy())
            except StopIteration:
                break  # the caller says which frame is missing
            self._position = index + 1
        return frames

    def _release(self) -> None:
        self._decoder = None  # its destructor frees the native reader


def _is_transport_stream(path: str) -> bool:
    """Whether the file is cut in MPEG-TS packets of 188 bytes."""
    with open(path, 'rb') as file:
        head = file.read(188 * 3 + 1)
    return len(head) > 188 * 3 and all(head[188 * i] == 0x47 for i in range(4))


class PyAVReader(VideoReader):
    """PyAV (ffmpeg's own libraries): reads everything that ffmpeg reads.

    The packets are listed once, undecoded, which gives the true number of
    frames and their timestamps; frames are then found by timestamp, from the
    last keyframe before them. On the way the decoder of H.264 or HEVC is told
    to drop frames that were not asked for and that no other is predicted
    from, which a good part of the B-frames are.
    """

    package = 'av'
    requirement = 'av'
    _container: Any = None
    _times: Any = None  # timestamps in order, if they are usable

    def _open(self, library: ModuleType) -> None:
        self._library_module = library
        # A frame's own conversion to RGB sets itself up for that frame, and
        # starts a thread for every core.
        self._reformatter = library.video.reformatter.VideoReformatter()
        self._threads = {}  # PyAV before 17 knows one thread only
        if int(library.__version__.split('.')[0]) >= 17:
            self._threads = dict(threads=self.num_threads)
        self._restart()
        packets = [
            (p.pts, p.is_keyframe)
            for p in self._container.demux(self._stream)
            if p.size and not p.is_discard
        ]
        rate = self._stream.average_rate or self._stream.guessed_rate or 0
        self._avg_fps = float(rate)
        self._length = len(packets)
        times = [pts for pts, _ in packets]
        usable = None not in times and len(set(times)) == len(times)
        # Without usable timestamps frames are counted from the beginning.
        self._times = sorted(times) if usable else None
        self._key_times = sorted(pts for pts, key in packets if key) if usable else []

    def _restart(self) -> None:
        self._release()
        container = self._library_module.open(self.path)
        self._container = container
        if not container.streams.video:
            raise UnreadableVideoError(self.path, 'it has no video stream')
        self._stream = container.streams.video[0]
        self._stream.codec_context.thread_count = self.num_threads

    def _read_ascending(self, indices: list[int]) -> list[np.ndarray]:
        if indices and self._times is not None:
            frames = self._read_by_time(indices)
            if frames is not None:
                return frames
        return self._read_by_counting(indices)

    def _read_by_time(self, indices: list[int]) -> list[np.ndarray] | None:
        """The frames, or None when seeking went past one of them."""
        targets = [self._times[index] for index in indices]
        wanted, last, result = set(targets), None, []
        for target in targets:
            # The first always: the read before has dropped frames.
            if last is None or self._seek_pays(last, target):
                frames = self._decode_from(target, wanted)
            frame = next((f for f in frames if f.pts >= target), None)
            if frame is None or frame.pts != target:
                return None
            last = target
            result.append(self._to_rgb(frame))
        return result

    def _seek_pays(self, last: int, target: int) -> bool:
        """Whether to go to the target's keyframe rather than to decode on."""
        key = self._keyframe_of(target)
        if key is None:
            return False
        between = bisect_left(self._times, key) - bisect_left(self._times, last)
        return between > _WORTH_A_SEEK

    def _keyframe_of(self, target: int) -> int | None:
        """The timestamp of the last keyframe that is not after the target."""
        number = bisect_right(self._key_times, target)
        return self._key_times[number - 1] if number else None

    def _decode_from(self, target: int, wanted: Collection[int]) -> Iterator[Any]:
        """Frames from the target's keyframe on, in order of time.

        Those that are in ``wanted`` (timestamps) are among them.
        """
        key = self._keyframe_of(target)
        if key is None:
            self._restart()
        else:
            self._container.seek(key, stream=self._stream)
        context = self._stream.codec_context
        # Not MPEG-4: in AVI a packet of it may hold two frames.
        may_drop = context.name in ('h264', 'hevc')
        for packet in self._container.demux(self._stream):
            keep = not may_drop or not packet.size or packet.pts in wanted
            context.skip_frame = 'DEFAULT' if keep else 'NONREF'
            for frame in packet.decode():
                if frame.pts is not None:
                    yield frame

    def _read_by_counting(self, indices: list[int]) -> list[np.ndarray]:
        self._restart()
        wanted = set(indices)
        result = []
        for position, frame in enumerate(self._container.decode(self._stream)):
            if position in wanted:
                result.append(self._to_rgb(frame))
            if len(result) == len(indices):
                break
        return result

    def _to_rgb(self, frame: Any) -> np.ndarray:
        image = self._reformatter.reformat(frame, format='rgb24', **self._threads).to_ndarray()
        # Quarter turns, counter-clockwise; older PyAV does not tell.
        turns = round(getattr(frame, 'rotation', 0) / 90) % 4
        return np.ascontiguousarray(np.rot90(image, turns))

    def _release(self) -> None:
        container, self._container = self._container, None
        if container is not None:
            self._stream = None
            container.close()


class OpenCVReader(VideoReader):
    """OpenCV: there on every machine, and the slowest.

    The frame count in the header is often wrong, and seeking is inexact in
    files with a variable frame rate, so frames are counted and reached by
    decoding from the beginning.
    """

    package = 'cv2'
    requirement = 'opencv-python-headless'
    _capture: Any = None

    def _open(self, library: ModuleType) -> None:
        # At its default level OpenCV warns of every file it cannot open.
        library.setLogLevel(2)  # errors; the name is not in every build
        self._library_module = library
        self._restart()
        while self._capture.grab():
            self._length += 1
        self._avg_fps = float(self._capture.get(library.CAP_PROP_FPS))
        self._restart()

    def _restart(self) -> None:
        self._release()
        cv2 = self._library_module
        self._capture = cv2.VideoCapture(
            self.path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, self.num_threads]
        )
        if not self._capture.isOpened():
            raise UnreadableVideoError(self.path, 'OpenCV cannot open it as a video')
        # Whether OpenCV turns frames by itself depends on its version.
        self._capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)
        degrees = self._capture.get(cv2.CAP_PROP_ORIENTATION_META)
        self._clockwise_turns = round(degrees / 90) % 4
        self._position = 0

    def _read_ascending(self, indices: list[int]) -> list[np.ndarray]:
        if indices and indices[0] < self._position:
            self._restart()
        result = []
        for index in indices:
            for _ in range(index - self._position):
                self._capture.grab()
            ok, frame = self._capture.read()
            if not ok:
                break  # the caller says which frame is missing
            self._position = index + 1
            rgb = np.rot90(frame[..., ::-1], -self._clockwise_turns)
            result.append(np.ascontiguousarray(rgb))
        return result

    def _release(self) -> None:
        capture, self._capture = self._capture, None
        if capture is not None:
            capture.release()


class TorchCodecReader(VideoReader):
    """torchcodec: PyTorch's own decoder, when installed (with ffmpeg).

    It seeks by timestamps, and lands on wrong frames where there are none:
    AVI and MPEG program streams are decoded from the beginning instead.
    """

    package = 'torchcodec.decoders'
    requirement = 'torchcodec'
    _decoder: Any = None

    def _open(self, library: ModuleType) -> None:
        self._seekable = _has_seek_table(self.path)
        self._decoder = library.VideoDecoder(
            self.path,
            dimension_order='NHWC',
            num_ffmpeg_threads=self.num_threads,
            seek_mode='exact',
        )
        self._length = len(self._decoder)
        self._avg_fps = float(self._decoder.metadata.average_fps or 0)

    def _read_ascending(self, indices: list[int]) -> list[np.ndarray]:
        if self._seekable:
            return list(self._decoder.get_frames_at(indices).data.numpy())
        wanted = set(indices)
        frames = []
        for index in range(max(wanted, default=-1) + 1):
            frame = self._decoder.get_frame_at(index)
            if index in wanted:
                frames.append(frame.data.numpy())
        return frames

    def _release(self) -> None:
        self._decoder = None


BACKENDS.update(
    decord=DecordReader, pyav=PyAVReader, opencv=OpenCVReader, torchcodec=TorchCodecReader
)


def available_backends() -> tuple[str, ...]:
    """Names of the backends whose package imports on this machine."""
    names = []
    for name, reader in BACKENDS.items():
        try:
            reader.library()
        except ImportError:
            continue
        names.append(name)
    return tuple(names)


def reader_class(backend: str) -> type[VideoReader]:
    """The reader class of a backend; an error lists the known names."""
    if backend not in BACKENDS:
        raise ValueError(f'unknown video backend {backend!r}: choose one of {", ".join(BACKENDS)}')
    return BACKENDS[backend]


def open_video(path: str, backend: str = 'decord', num_threads: int = 1) -> VideoReader:
    """Open a local video file.

    Args:
        path (str): The file.
        backend (str): ``'decord'``, ``'pyav'``, ``'opencv'`` or
            ``'torchcodec'``. Defaults to ``'decord'``.
        num_threads (int): Decoding threads. Defaults to 1.

    Returns:
        VideoReader: To be closed after use.

    Raises:
        ValueError: There is no such backend.
        ImportError: Its package is not installed; the message says which.
        UnreadableVideoError: The file is missing, empty, not a video, or has
            no frames.
    """
    return reader_class(backend)(str(path), num_threads)
