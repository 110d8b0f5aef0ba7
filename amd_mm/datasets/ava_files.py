"""The files of AVA-style data sets, read with care.

What belongs together is a *frame*: a video and a timestamp, with the key
``'{video},{timestamp:04d}'``.

- Annotations, one line per box and action, without a header::

      video,timestamp,x1,y1,x2,y2,label,person

  Corners are shares of the frame's width and height; the label is a positive
  number of the label map.
- Excluded frames: ``video,timestamp`` per line.
- A label map, ``.pbtxt``, with ``name: "..."`` before ``id: 1`` (or
  ``label_id: 1``) in each item, both indented by two spaces.
- Proposals, a pickle: frame key -> array (N, 5) of x1, y1, x2, y2 (shares)
  and the detector's confidence, or (N, 4) without it.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pickle import UnpicklingError
from typing import Any, NamedTuple

import numpy as np

from .pickles import NumbersUnpickler

# Detectors overshoot the frame a little; this share is cut off silently.
_OVERSHOOT = 0.01


class AVADataError(ValueError):
    """Files of an AVA-style data set that are wrong or do not meet."""


class LineProblem(NamedTuple):
    """What is wrong with a line of a file.

    Attributes:
        number (int): Of the line, from 1.
        problem (str): What is wrong with it.
        line (str): The line.
    """

    number: int
    problem: str
    line: str

    def __str__(self) -> str:
        return f'line {self.number}: {self.problem}\n    {self.line}'


@dataclass
class AVAAnnotations:
    """What an annotation file holds, without the boxes themselves.

    Attributes:
        path (str): The file.
        timestamps (Dict[str, Set[int]]): Video -> annotated timestamps.
        labels (Counter): Label -> number of lines.
        lines (int): Lines that are right.
        problems (List[LineProblem]): Lines that are not.
    """

    path: str
    timestamps: dict[str, set[int]] = field(default_factory=dict)
    labels: Counter = field(default_factory=Counter)
    lines: int = 0
    problems: list[LineProblem] = field(default_factory=list)

    def frames(self) -> set[str]:
        """Keys of the annotated frames."""
        return {
            frame_key(video, time) for video, times in self.timestamps.items() for time in times
        }

    def check(self) -> None:
        """Raise an AVADataError if a line is wrong, or there is none."""
        if self.problems:
            total = self.lines + len(self.problems)
            raise AVADataError(
                f'{self.path}: {len(self.problems)} of {total} lines are '
                'wrong:\n  ' + '\n  '.join(map(str, self.problems[:5]))
            )
        if not self.lines:
            raise AVADataError(f'{self.path} is empty')


def frame_key(video: str, timestamp: int | str) -> str:
    """The key of a frame: ``('abc', 902)`` -> ``'abc,0902'``."""
    return f'{video},{int(timestamp):04d}'


def some_of(names: Iterable[Any], limit: int = 5) -> str:
    """The first few names in order, and how many more there are."""
    names = sorted(names)
    shown = ', '.join(repr(name) for name in names[:limit])
    more = len(names) - limit
    return f'{shown} and {more} more' if more > 0 else shown


def scan_annotations(path: str, num_classes: int | None = None) -> AVAAnnotations:
    """Read an annotation file line by line and check each.

    Args:
        path (str): The csv file.
        num_classes (int, optional): Labels must be smaller; None does not
            look.

    Returns:
        AVAAnnotations: A summary, with all lines that are wrong. Call its
        ``check()`` to make these an error.
    """
    found = AVAAnnotations(path)
    with open(path, encoding='utf-8') as file:
        for number, line in enumerate(file, start=1):
            line = line.strip()
            try:
                video, timestamp, label = _parse(line, num_classes)
            except ValueError as error:
                found.problems.append(LineProblem(number, str(error), line))
                continue
            found.lines += 1
            found.timestamps.setdefault(video, set()).add(timestamp)
            found.labels[label] += 1
    return found


def _parse(line: str, num_classes: int | None) -> tuple[str, int, int]:
    """Video, timestamp and label of a line; a ValueError says what is bad."""
    fields = line.split(',')
    if len(fields) != 8:
        raise ValueError(
            f'{len(fields)} fields instead of 8: video, timestamp, x1, y1, x2, y2, label, person'
        )
    video, timestamp, *corners, label, person = fields
    if not any(corners):
        raise ValueError('it has no box; leave frames without boxes out')
    x1, y1, x2, y2 = (_number(float, *pair) for pair in zip(('x1', 'y1', 'x2', 'y2'), corners))
    if not (0 <= x1 <= x2 <= 1 and 0 <= y1 <= y2 <= 1):
        raise ValueError(
            'the box is not 0 <= x1 <= x2 <= 1 and 0 <= y1 <= y2 '
            '<= 1 (shares of width and height, not pixels)'
        )
    _number(int, 'person', person)
    number = _number(int, 'label', label)
    if number < 1 or (num_classes is not None and number >= num_classes):
        limit = (
            ''
            if num_classes is None
            else (f' and below num_classes={num_classes} (which counts the background)')
        )
        raise ValueError(f'the label must be at least 1{limit}')
    return video, _number(int, 'timestamp', timestamp), number


def _number(kind: type, name: str, text: str) -> Any:
    try:
        return kind(text)
    except ValueError:
        raise ValueError(
            f'{name} is no {"whole " if kind is int else ""}number: {text!r}'
        ) from None


def read_exclusions(path: str | None) -> set[str]:
    """Keys of the excluded frames; none without a file.

    Raises:
        AVADataError: For a line that is not ``video,timestamp``.
    """
    if path is None:
        return set()
    excluded = set()
    with open(path, encoding='utf-8') as file:
        for number, line in enumerate(file, start=1):
            fields = line.strip().split(',')
            if len(fields) != 2 or not fields[1].isdigit():
                raise AVADataError(
                    f'{path}, line {number}: it is not `video,timestamp`:\n    {line.strip()}'
                )
            excluded.add(frame_key(fields[0], int(fields[1])))
    return excluded


def read_label_map(path: str) -> dict[int, str]:
    """Labels and their names.

    Raises:
        AVADataError: If there are none that MMAction2 would find.
    """
    from mmaction.evaluation import read_labelmap

    with open(path, encoding='utf-8') as file:
        names, _ = read_labelmap(file)
    if not names:
        raise AVADataError(
            f'no label is found in {path}; an item has a line `  name: "..."` '
            'and then a line `  id: 1` (or `  label_id: 1`), both indented by '
            'two spaces'
        )
    return {item['id']: item['name'] for item in names}


def read_proposals(path: str) -> dict[str, np.ndarray]:
    """Proposals by frame, without running what the file names.

    Frames without a proposal are left out, boxes are clipped to the frame.

    Args:
        path (str): The pickle.

    Returns:
        Dict[str, np.ndarray]: Frame key -> (N, 5) or (N, 4), float64: x1, y1,
        x2, y2 as shares of the frame, and the confidence.

    Raises:
        AVADataError: If it is no such file; the message names the frame.
    """
    try:
        with open(path, 'rb') as file:
            content = NumbersUnpickler(file, encoding='latin1').load()  # of Python 2
    except (UnpicklingError, EOFError, ValueError) as error:
        raise AVADataError(f'{path} is no file of proposals: {error}') from error
    if not isinstance(content, dict) or not content:
        raise AVADataError(
            f'{path} is no file of proposals: it holds a '
            f'{type(content).__name__}, not a dict of frames that is not '
            'empty'
        )
    proposals = {}
    for key, boxes in content.items():
        try:
            boxes = check_proposals(boxes)
        except ValueError as error:
            raise AVADataError(f'{path}: frame {key!r}: {error}') from None
        if len(boxes):
            proposals[str(key)] = boxes
    return proposals


def check_proposals(boxes: np.ndarray) -> np.ndarray:
    """One frame's proposals, clipped to the frame.

    Args:
        boxes (np.ndarray): (N, 4) or (N, 5), see :func:`read_proposals`.

    Returns:
        np.ndarray: The same as float64.

    Raises:
        ValueError: If shape or values are wrong.
    """
    boxes = np.array(boxes, dtype=np.float64, subok=False)
    if boxes.ndim != 2 or boxes.shape[1] not in (4, 5):
        raise ValueError(f'proposals have shape {boxes.shape} instead of (N, 4) or (N, 5)')
    if not np.isfinite(boxes).all():
        raise ValueError('proposals are not all finite')
    if boxes.size and (boxes.min() < -_OVERSHOOT or boxes.max() > 1 + _OVERSHOOT):
        raise ValueError(
            f'values from {boxes.min():g} to {boxes.max():g}; corners are '
            'shares of width and height (not pixels), confidences from 0 to 1'
        )
    if (boxes[:, :2] > boxes[:, 2:4]).any():
        raise ValueError('a box has x1 > x2 or y1 > y2 (x, y, width, height?)')
    return boxes.clip(0, 1)
