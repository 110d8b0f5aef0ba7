"""Timestamps and keyframes of a video from its container, without reading the frames.

Demuxing finds them too, but reads the whole file.
"""

import os
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import numpy as np


class Frames(NamedTuple):
    """Frames of a video in decoding order."""

    times: np.ndarray  # (N, ), in the stream's time base
    is_key: np.ndarray  # (N, ), keyframes

    def select(self, chosen: np.ndarray | slice) -> 'Frames':
        """Some of the frames."""
        return Frames(self.times[chosen], self.is_key[chosen])

    def listed(self) -> list[tuple[int, bool]]:
        """The same as (time, is keyframe) of each frame."""
        return list(zip(self.times.tolist(), self.is_key.tolist()))


_CHECKED = 4  # packets that are compared with the index
_KEYFRAME, _DISCARDED = 1, 2  # flags of FFmpeg's index

# Elements of Matroska that hold others, and those that are read, whose names have one byte.
_PARENTS = {
    b'\x18\x53\x80\x67',  # Segment
    b'\x16\x54\xae\x6b',  # Tracks
    b'\xae',  # TrackEntry
    b'\x1f\x43\xb6\x75',  # Cluster
    b'\xa0',  # BlockGroup
}
_TRACK_NUMBER, _TRACK_TYPE, _CLUSTER_TIME = 0xD7, 0x83, 0xE7
_SIMPLE_BLOCK, _BLOCK, _REFERENCE = 0xA3, 0xA1, 0xFB
_HEAD = 16  # bytes: name (1 to 4), length (1 to 8), and the first 4 bytes of a block
# The first byte of a number tells how many bytes it has; the others and the low bits its value.
_WIDTHS = [0] + [9 - byte.bit_length() for byte in range(1, 256)]
_VALUES = [(1 << 7 * width) - 1 for width in range(9)]


def frames_from_index(path: str, container: Any, stream: Any) -> Frames | None:
    """List the frames to be shown of an mp4, mov, mkv, webm or avi file.

    Args:
        path: the file.
        container: the file opened with PyAV; its first packets are read.
        stream: the video stream.

    Returns:
        None for other files, and if the index is incomplete or contradicts the packets.
    """
    names = container.format.name.split(',')
    size = os.path.getsize(path)
    packets = _first_packets(container, stream)
    if not packets:
        return None
    found: tuple[Frames, np.ndarray] | None = None
    if 'matroska' in names:
        found = _matroska_frames(path, size)
    elif 'mp4' in names or ('avi' in names and not stream.codec_context.has_b_frames):
        found = _indexed_frames(path, size, stream, packets[0].pts, 'avi' in names)
    if found is None:
        return None
    frames, shown = found
    first = [(packet.pts, packet.is_keyframe) for packet in packets]
    if frames.select(slice(len(first))).listed() != first:
        return None
    return frames.select(shown)


def _first_packets(container: Any, stream: Any) -> list[Any]:
    packets = []
    for packet in container.demux(stream):
        if packet.size:
            packets.append(packet)
        if len(packets) == _CHECKED:
            break
    return packets


def _indexed_frames(
    path: str, size: int, stream: Any, first_time: int, is_avi: bool
) -> tuple[Frames, np.ndarray] | None:
    """Frames of mp4 and avi, and which are shown.

    The index has a decoding time for each frame; mp4's `ctts` has the offsets.
    """
    rows = [
        value
        for entry in stream.index_entries
        for value in (entry.timestamp, entry.pos, entry.size, entry.flags)
    ]
    times, starts, sizes, flags = np.array(rows, np.int64).reshape(-1, 4).T
    count = len(times)
    if is_avi and count > 1:  # its times count frames, of which some may be left out
        count = 2 * times[-1] - times[-2]
    if not count or count != stream.frames:  # mp4 in fragments, a damaged avi
        return None
    if (starts + sizes).max() > size:  # cut off
        return None
    times, flags = times[sizes > 0], flags[sizes > 0]
    offsets = None if is_avi else _composition_offsets(path, size, stream.id)
    if offsets is not None:
        if len(offsets) != len(times):
            return None
        times = times + offsets
    frames = Frames(times + first_time - times[0], flags & _KEYFRAME > 0)
    return frames, flags & _DISCARDED == 0


def _composition_offsets(path: str, size: int, track: int) -> np.ndarray | None:
    """Presentation minus decoding time of the frames of a track of an mp4, in decoding order."""
    with open(path, 'rb') as file:
        for kind, start, end in _boxes(file, 0, size):
            file.seek(start)
            if kind == 'tkhd':
                head = file.read(24)
                (current,) = struct.unpack_from('>I', head, 20 if head[0] == 1 else 12)
            if kind == 'ctts' and current == track:
                table = np.frombuffer(file.read(end - start)[8:], '>i4').reshape(-1, 2)
                return np.repeat(table[:, 1], table[:, 0]).astype(np.int64)
    return None


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[str, int, int]]:
    """Kind, start and end of the contents of an mp4's boxes, without those that hold others."""
    while start + 8 <= end:
        file.seek(start)
        size, name = struct.unpack('>I4s', file.read(8))
        kind, inside = name.decode('latin-1'), start + 8
        if size == 1:  # a long size follows
            size, inside = int.from_bytes(file.read(8), 'big'), start + 16
        stop = start + size if size else end
        if stop <= start or stop > end:
            return
        if kind in ('moov', 'trak', 'mdia', 'minf', 'stbl'):
            yield from _boxes(file, inside, stop)
        else:
            yield kind, inside, stop
        start = stop


def _matroska_frames(path: str, size: int) -> tuple[Frames, np.ndarray] | None:
    """The same of Matroska, whose index has keyframes only: read the header of each block."""
    heads: list[bytes] = []  # time in the cluster and flags of each block of the video
    clusters: list[tuple[int, int]] = [(0, 0)]  # number of blocks before the cluster, and its time
    grouped: list[int] = []  # blocks whose flags do not tell whether they are keyframes
    referring: list[int] = []  # those that are not
    track, number, at, ours = -1, 0, 0, False
    with open(path, 'rb', buffering=0) as file:
        handle = file.fileno()
        while at < size:  # for each frame: keep it short
            head = os.pread(handle, _HEAD, at)
            if len(head) < _HEAD:  # the end of the file
                head = head.ljust(_HEAD, b'\0')
            name = head[0]
            name_end = _WIDTHS[name]
            width = _WIDTHS[head[name_end]]
            start = name_end + width
            if not width:
                return None
            length = int.from_bytes(head[name_end:start], 'big') & _VALUES[width]
            at += start + length
            if name == _SIMPLE_BLOCK:
                if head[start] == track:
                    heads.append(head[start + 1 : start + 4])
            elif name == _BLOCK:
                ours = head[start] == track
                if ours:
                    grouped.append(len(heads))
                    heads.append(head[start + 1 : start + 4])
            elif head[:name_end] in _PARENTS:  # its end does not matter, and may be unknown
                at -= length
            elif name == _CLUSTER_TIME:
                clusters.append((len(heads), int.from_bytes(head[start : start + length], 'big')))
            elif name == _TRACK_NUMBER:
                number = int.from_bytes(head[start : start + length], 'big')
            elif name == _TRACK_TYPE and head[start] == 1 and track < 0:
                if number > 126:  # takes two bytes
                    return None
                track = 0x80 | number  # as blocks write it
            elif name == _REFERENCE and ours:
                referring.append(len(heads) - 1)
    if at != size:  # it is cut off
        return None
    blocks = np.frombuffer(b''.join(heads), np.dtype('>i2, u1'))
    if (blocks['f1'] & 0x06).any():  # several frames in a block
        return None
    is_key = blocks['f1'] & 0x80 > 0
    is_key[grouped] = True
    is_key[referring] = False
    before, times = np.array(clusters).T
    times = np.repeat(times, np.diff(before, append=len(heads)))
    frames = Frames(times + blocks['f0'], is_key)
    return frames, np.ones(len(heads), bool)
