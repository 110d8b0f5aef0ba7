"""Cutting long videos into segments, each of which is a sample."""

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from ..errors import ConfigError
from ..registry import type_name
from .files import log_progress
from .video_reader import UnreadableVideoError, open_video

SEGMENT_CACHE = 'work_dirs/segments.json'
"""Where the segments of all data sets are kept by default."""


def cut_into_segments(
    videos: list[dict], seconds: float | None, cache: str = SEGMENT_CACHE
) -> list[dict[str, Any]]:
    """Replace each video of a data list by its segments.

    The length of a video comes from its index, which PyAV reads in several processes. A rest
    shorter than half a segment belongs to the segment before it.

    Args:
        videos: dicts with ``filename``.
        seconds: length of a segment; None leaves the videos whole.
        cache: JSON file that keeps the segments, with the size and the modification time of each
            video. Only new and changed videos are opened again.

    Returns:
        The dicts with ``segment``: (position of the first frame, number of frames). A video that
        cannot be opened stays as it is, so that the data set replaces and reports it.

    Raises:
        ValueError: ``seconds`` is not positive.
    """
    if seconds is None:
        return videos
    if seconds <= 0:
        raise ValueError(f'segment_seconds must be positive, got {seconds}')
    tables = _read_cache(cache)
    table = tables.setdefault(f'{seconds:g}', {})  # path: [[size, time], edges]
    paths = dict.fromkeys(os.path.abspath(video['filename']) for video in videos)
    states = {path: _state(path) for path in paths}
    new = [path for path in states if table.get(path, [None])[0] != states[path]]
    if new:
        with ProcessPoolExecutor(min(len(new), os.cpu_count() or 1)) as pool:
            found = pool.map(partial(_edges, seconds=seconds), new)
            for path, edges in zip(new, log_progress(found, f'of {len(new)} videos opened')):
                table[path] = [states[path], edges]
                if not edges:  # perhaps it can be opened in the next run
                    del table[path]
        _write_cache(cache, tables)
    samples = []
    for video in videos:
        _, edges = table.get(os.path.abspath(video['filename']), [None, []])
        cut = [dict(video, segment=(a, b - a)) for a, b in pairwise(edges)]
        samples += cut or [video]
    print_log(
        f'{len(samples)} segments of {seconds:g} s in {len(videos)} videos, kept in {cache}',
        'current',
    )
    return samples


def _edges(path: str, seconds: float) -> list[int]:
    """Positions of the segments' first frames, and the number of frames; empty if unreadable."""
    try:
        with open_video(path) as reader:
            times, duration = reader.times, reader.duration
    except UnreadableVideoError:
        return []
    count = max(1, int(round(duration / seconds, 6) + 0.5))
    starts = np.searchsorted(times, np.arange(1, count) * seconds - 1e-6)
    return np.unique([0, *starts, len(times)]).tolist()  # no empty ones


def _state(path: str) -> list[int] | None:
    try:
        state = os.stat(path)
    except OSError:
        return None
    return [state.st_size, state.st_mtime_ns]


def check_reader(pipeline: Sequence[Mapping | Callable], seconds: float | None) -> None:
    """Refuse a pipeline that would read whole videos in the place of segments.

    Raises:
        ConfigError: ``seconds`` is given, and no transform is ``amd_mm.VideoInit``.
    """
    names = [
        type_name(step) if isinstance(step, Mapping) else type(step).__name__ for step in pipeline
    ]
    if seconds is not None and names and 'VideoInit' not in names:
        raise ConfigError(
            f'segment_seconds={seconds:g}: only amd_mm.VideoInit reads segments, but the pipeline '
            f'is {", ".join(names)}: begin it with amd_mm.VideoInit and amd_mm.VideoDecode'
        )


def _read_cache(path: str) -> dict[str, dict]:
    try:
        return json.loads(Path(path).read_bytes())
    except (OSError, ValueError):  # none yet, or damaged: it is written anew
        return {}


def _write_cache(path: str, tables: dict[str, dict]) -> None:
    """Write the file under another name first: several processes may do so at once."""
    part = f'{path}.{os.getpid()}'
    try:
        os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
        Path(part).write_text(json.dumps(tables))
        os.replace(part, path)
    except OSError as error:
        print_log(
            f'the segments are not kept in {path} ({error.strerror}), and are listed again in the '
            'next run: set segment_cache to another file',
            'current',
            logging.WARNING,
        )
