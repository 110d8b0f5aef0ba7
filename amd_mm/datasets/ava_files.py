"""The files of AVA-style datasets: annotations, exclusions, label map, proposals.

A *frame* is a video and a timestamp, with the key ``'{video},{timestamp:04d}'``.

- Annotations: one line per box and action, with or without a header::

      video,timestamp,x1,y1,x2,y2,label,person

  Timestamps are whole seconds; corners are relative to the frame's width and height; labels are
  positive and in the label map; the person may be missing.
- Excluded frames: ``video,timestamp`` per line.
- Label map (``.pbtxt``): each item has ``name: "..."`` before ``id: 1`` (or ``label_id: 1``).
- Proposals: a pickle of frame key -> array (N, 5) of relative x1, y1, x2, y2 and the detector's
  confidence, or (N, 4) without it. :mod:`amd_mm.datasets.detector_boxes` makes them from the files
  of detectors.
"""

import pickle
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, NamedTuple

import numpy as np

from ..checkpoints import write_atomically
from ..errors import VideoError
from .files import read_lines
from .pickles import NumbersUnpickler

# Detectors exceed the frame a little; that much is clipped silently.
OVERSHOOT = 0.01
_SHOWN = 5


def frame_key(video: str, timestamp: int | str) -> str:
    """The key of a frame: ``('abc', 902)`` -> ``'abc,0902'``."""
    return f'{video},{int(timestamp):04d}'


def some_of(names: Iterable[Any], limit: int = _SHOWN) -> str:
    """The first few names in order, and how many more there are."""
    names = sorted(names)
    shown = ', '.join(repr(name) for name in names[:limit])
    return shown if len(names) <= limit else f'{shown} and {len(names) - limit} more'


@dataclass
class AVAAnnotations:
    """Summary of an annotation file.

    Attributes:
        timestamps: video -> annotated timestamps.
        labels: label -> number of lines.
        lines: number of correct lines.
        problems: one text for each wrong line, with its number.
    """

    path: str
    timestamps: dict[str, set[int]] = field(default_factory=dict)
    labels: Counter = field(default_factory=Counter)
    lines: int = 0
    problems: list[str] = field(default_factory=list)

    def frames(self) -> set[str]:
        """Keys of the annotated frames."""
        return {
            frame_key(video, time) for video, times in self.timestamps.items() for time in times
        }

    def check(self) -> None:
        """Raise a VideoError if a line is wrong, or there is none."""
        if self.problems:
            raise wrong_lines(self.path, self.problems, self.lines)
        if not self.lines:
            raise VideoError(f'{self.path} is empty')


def wrong_lines(path: str | Path, problems: list[str], correct: int) -> VideoError:
    """The error of a file with wrong lines; it shows the first few."""
    return VideoError(
        f'{path}: {len(problems)} of {correct + len(problems)} lines are wrong:\n  '
        + '\n  '.join(problems[:_SHOWN])
    )


def scan_annotations(path: str, num_classes: int | None = None) -> AVAAnnotations:
    """Read an annotation file and check every line.

    Args:
        path: the csv.
        num_classes: labels must be smaller, if given.

    Returns:
        A summary with all wrong lines; its ``check()`` raises for them.
    """
    found = AVAAnnotations(path)
    for number, line in _lines_without_header(path):
        try:
            box = _parse_annotation(line, num_classes)
        except ValueError as error:
            found.problems.append(f'line {number}: {error}\n    {line}')
            continue
        found.lines += 1
        found.timestamps.setdefault(box.video, set()).add(box.timestamp)
        found.labels[box.label] += 1
    return found


def plain_lines(path: str) -> Iterator[str]:
    """The lines of an annotation file as MMAction2 reads them.

    Without byte order mark, header and blank lines; times, labels and persons are integers (902
    for 902.0, -1 for a missing person), and corners at most 1.

    Raises:
        VideoError: a line is wrong.
    """
    for number, line in _lines_without_header(path):
        try:
            yield ','.join(map(str, _parse_annotation(line, None)))
        except ValueError as error:
            raise VideoError(f'{path}, line {number}: {error}\n    {line}') from None


@contextmanager
def plain_copy(path: str) -> Iterator[str]:
    """A copy of an annotation file with :func:`plain_lines`."""
    with NamedTemporaryFile('w', encoding='utf-8', suffix='.csv') as file:
        file.writelines(f'{line}\n' for line in plain_lines(path))
        file.flush()
        yield file.name


def _lines_without_header(path: str) -> Iterator[tuple[int, str]]:
    lines = read_lines(path)
    for number, line in lines:
        second = line.partition(',')[2].lower().lstrip(' "')
        if not second.startswith(('time', 'second', 'frame', 'middle_frame')):
            yield number, line
        break
    yield from lines


class _Box(NamedTuple):
    video: str
    timestamp: int
    x1: float
    y1: float
    x2: float
    y2: float
    label: int
    person: int


def _parse_annotation(line: str, num_classes: int | None) -> _Box:
    video, *fields = (field.strip() for field in line.split(','))
    if len(fields) == 6:
        fields.append('')
    if len(fields) != 7:
        raise ValueError(
            f'{1 + len(fields)} fields instead of 8: video, timestamp, x1, y1, x2, y2, label, '
            'person'
        )
    timestamp, *corners, label, person = fields
    if not any(corners):
        raise ValueError('it has no box; remove frames without boxes')
    box = np.array([parse_number(*pair) for pair in zip(_Box._fields[2:6], corners)])
    if box.min() < -OVERSHOOT or box.max() > 1 + OVERSHOOT or (box[:2] > box[2:]).any():
        raise ValueError(
            'the box is not 0 <= x1 <= x2 <= 1 and 0 <= y1 <= y2 <= 1 (relative to width and '
            'height, not pixels)'
        )
    number = parse_whole('label', label)
    if number < 1 or (num_classes is not None and number >= num_classes):
        below = '' if num_classes is None else f' and below num_classes={num_classes}'
        raise ValueError(f'the label must be at least 1{below} (0 is the background)')
    who = parse_whole('person', person) if person else -1
    x1, y1, x2, y2 = box.clip(0, 1).tolist()
    return _Box(video, parse_whole('timestamp', timestamp), x1, y1, x2, y2, number, who)


def parse_whole(name: str, text: str) -> int:
    """A whole number, also as pandas writes one beside missing values (902.0)."""
    value = parse_number(name, text)
    if value != int(value):
        raise ValueError(f'{name} is not a whole number: {text}')
    return int(value)


def parse_number(name: str, text: str) -> float:
    """A finite number; a ValueError has its name."""
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f'{name} is not a number: {text!r}') from None
    if not np.isfinite(value):
        raise ValueError(f'{name} is not finite')
    return value


def read_exclusions(path: str | None) -> set[str]:
    """Keys of the excluded frames; empty without a file.

    Raises:
        VideoError: a line is not ``video,timestamp``.
    """
    if path is None:
        return set()
    excluded = set()
    for number, line in _lines_without_header(path):
        video, _, timestamp = line.partition(',')
        try:
            excluded.add(frame_key(video.strip(), parse_whole('timestamp', timestamp)))
        except ValueError as error:
            raise VideoError(
                f'{path}, line {number}: it is not `video,timestamp` ({error}):\n    {line}'
            ) from None
    return excluded


def read_label_map(path: str, num_classes: int | None = None) -> dict[int, str]:
    """Labels and their names.

    Args:
        path: the label map.
        num_classes: labels must be smaller, if given.

    Raises:
        VideoError: the file has no label, or one is too large.
    """
    text = '\n'.join(line for _, line in read_lines(path))
    found = re.findall(r'name: *"(.*)"\s+(?:label_)?id: *(\d+)', text)
    names = {int(label): name for name, label in found}
    if not names:
        raise VideoError(
            f'{path} has no label: an item needs a line `name: "..."` and then a line `id: 1` (or '
            '`label_id: 1`)'
        )
    if num_classes is not None and max(names) >= num_classes:
        raise VideoError(
            f'{path} has the label {max(names)}, but num_classes={num_classes} allows labels below '
            f'it: set num_classes={max(names) + 1} for the data sets, the metric and '
            'model.roi_head.bbox_head'
        )
    return names


def read_proposals(path: str) -> dict[str, np.ndarray]:
    """Read proposals without running code that the pickle names.

    Returns:
        Frame key -> float64 (N, 5) or (N, 4), clipped to the frame; frames without a proposal
        are left out.

    Raises:
        VideoError: the file or a frame is wrong.
    """
    try:
        with open(path, 'rb') as file:
            content = NumbersUnpickler(file, encoding='latin1').load()  # as Python 2 wrote it
    except OSError:
        raise
    except Exception as error:  # a damaged pickle raises nearly anything
        raise VideoError(f'{path} is not a file of proposals: {error}') from error
    if not isinstance(content, dict) or not content:
        raise VideoError(
            f'{path} is not a file of proposals: it holds a {type(content).__name__}, not a dict '
            'of frames that is not empty'
        )
    proposals = {}
    for key, boxes in content.items():
        try:
            boxes = check_proposals(boxes)
        except ValueError as error:
            raise VideoError(f'{path}: frame {key!r}: {error}') from None
        if len(boxes):
            proposals[_plain_key(str(key))] = boxes
    return proposals


def _plain_key(key: str) -> str:
    """``'a,902.0'`` and ``'a,902'`` -> ``'a,0902'``; other keys stay."""
    video, _, timestamp = key.rpartition(',')
    with suppress(ValueError):
        return frame_key(video, parse_whole('timestamp', timestamp))
    return key


def check_proposals(boxes: np.ndarray) -> np.ndarray:
    """Check one frame's proposals (N, 4) or (N, 5), and clip them to the frame.

    Raises:
        ValueError: shape or values are wrong.
    """
    boxes = np.array(boxes, dtype=np.float64, subok=False)
    if boxes.ndim != 2 or boxes.shape[1] not in (4, 5):
        raise ValueError(f'proposals have shape {boxes.shape} instead of (N, 4) or (N, 5)')
    if not np.isfinite(boxes).all():
        raise ValueError('proposals are not all finite')
    if boxes.size and (boxes.min() < -OVERSHOOT or boxes.max() > 1 + OVERSHOOT):
        raise ValueError(
            f'values from {boxes.min():g} to {boxes.max():g}; corners are relative to width and '
            'height (not pixels), confidences from 0 to 1'
        )
    if (boxes[:, :2] > boxes[:, 2:4]).any():
        raise ValueError('a box has x1 > x2 or y1 > y2 (x, y, width, height?)')
    return boxes.clip(0, 1)


def write_proposals(path: str | Path, proposals: dict[str, np.ndarray]) -> None:
    """Write proposals as MMAction2 reads them; the file appears when it is complete."""
    write_atomically(path, pickle.dumps(proposals, protocol=4))
