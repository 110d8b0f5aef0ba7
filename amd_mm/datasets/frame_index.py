"""Timestamps and keyframes of a video from its container, without reading the frames.

Demuxing finds them too, but reads the whole file.
"""

import os
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

Frames = list[tuple[int, bool]]
"""Timestamp in the stream's time base and whether it is a keyframe, of each frame to be shown."""

_CHECKED = 4  # packets that are compared with the index

# Elements of Matroska that hold others, and those that are read.
_PARENTS = {
    0x18538067: 'Segment',
    0x1654AE6B: 'Tracks',
    0xAE: 'TrackEntry',
    0x1F43B675: 'Cluster',
    0xA0: 'BlockGroup',
}
_TRACK_NUMBER, _TRACK_TYPE, _CLUSTER_TIME = 0xD7, 0x83, 0xE7
_SIMPLE_BLOCK, _BLOCK, _REFERENCE = 0xA3, 0xA1, 0xFB


def frames_from_index(path: str, container: Any, stream: Any) -> Frames | None:
    """List the frames of an mp4, mov, mkv, webm or avi file.

    Args:
        path: the file.
        container: the file opened with PyAV; its first packets are read.
        stream: the video stream.

    Returns:
        None for other files, if there is no complete index, and if it contradicts the packets.
    """
    names = container.format.name.split(',')
    size = os.path.getsize(path)
    packets = _first_packets(container, stream)
    if not packets:
        return None
    if 'matroska' in names:
        found = _matroska_frames(path, size)
    elif 'mp4' in names or ('avi' in names and not stream.codec_context.has_b_frames):
        found = _indexed_frames(path, size, stream, packets[0].pts, 'avi' in names)
    else:
        return None
    listed = [(packet.pts, packet.is_keyframe) for packet in packets]
    if found is None or [frame[:2] for frame in found[: len(listed)]] != listed:
        return None
    return [(time, is_key) for time, is_key, shown in found if shown]


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
) -> list[tuple[int, bool, bool]] | None:
    """The index of mp4 and avi has a decoding time for each frame; mp4's `ctts` the offsets."""
    entries = list(stream.index_entries)
    if is_avi and len(entries) > 1:  # its times count frames, of which some may be left out
        count = 2 * entries[-1].timestamp - entries[-2].timestamp
    else:
        count = len(entries)
    if not entries or count != stream.frames:  # mp4 in fragments, a damaged avi
        return None
    entries = [entry for entry in entries if entry.size]
    if max(entry.pos + entry.size for entry in entries) > size:  # cut off
        return None
    times = np.array([entry.timestamp for entry in entries])
    offsets = None if is_avi else _composition_offsets(path, size, stream.id)
    if offsets is not None:
        if len(offsets) != len(times):
            return None
        times += offsets
    times += first_time - times[0]
    return [(int(t), e.is_keyframe, not e.is_discard) for t, e in zip(times, entries)]


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


def _matroska_frames(path: str, size: int) -> list[tuple[int, bool, bool]] | None:
    """Matroska's index has keyframes only: read the header of each block."""
    frames: list[tuple[int, bool, bool]] = []
    track, number, cluster, at, ours = None, 0, 0, 0, False
    with open(path, 'rb', buffering=0) as file:
        while at < size:
            head = os.pread(file.fileno(), 24, at)
            ident, start = _number(head, 0, keep_length=True)
            length, start = _number(head, start)
            if not start:
                return None
            if ident in _PARENTS:  # its end does not matter, and may be unknown
                at += start
                continue
            data = head[start : start + min(length, 8)]
            at += start + length
            if ident == _TRACK_NUMBER:
                number = int.from_bytes(data, 'big')
            elif ident == _TRACK_TYPE and data == b'\1' and track is None:
                track = number
            elif ident == _CLUSTER_TIME:
                cluster = int.from_bytes(data, 'big')
            elif ident in (_SIMPLE_BLOCK, _BLOCK):
                owner, after = _number(data, 0)
                ours = owner == track
                if ours:
                    time, flags = struct.unpack_from('>hB', data, after)
                    if flags & 0x06:  # several frames in a block
                        return None
                    is_key = ident == _BLOCK or bool(flags & 0x80)
                    frames.append((cluster + time, is_key, True))
            elif ident == _REFERENCE and ours:
                frames[-1] = (frames[-1][0], False, True)
    return frames if at == size else None  # else it is cut off


def _number(data: bytes, at: int, keep_length: bool = False) -> tuple[int, int]:
    """A number of Matroska, whose first byte tells its length, and where it ends; 0 if broken."""
    if at >= len(data) or data[at] == 0:
        return 0, 0
    length = 9 - data[at].bit_length()
    value = int.from_bytes(data[at : at + length], 'big')
    if not keep_length:
        value &= (1 << 7 * length) - 1
    return value, at + length
