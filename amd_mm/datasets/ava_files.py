"""The files of AVA-style datasets: annotations, exclusions, label map, proposals, detected boxes.

A *frame* is a video and a timestamp, with the key ``'{video},{timestamp:04d}'``.

- Annotations: one line per box and action, without a header::

      video,timestamp,x1,y1,x2,y2,label,person

  Corners are relative to the frame's width and height; labels are positive and in the label map.
- Excluded frames: ``video,timestamp`` per line.
- Label map (``.pbtxt``): each item has ``  name: "..."`` before ``  id: 1`` (or ``label_id: 1``).
- Proposals: a pickle of frame key -> array (N, 5) of relative x1, y1, x2, y2 and the detector's
  confidence, or (N, 4) without it. :func:`read_box_csv` and :func:`read_aia_boxes` make them of
  what detectors write.
"""

import csv
import json
import os
import pickle
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import VideoError
from .pickles import NumbersUnpickler
from .video_reader import VIDEO_EXTENSIONS

# Detectors exceed the frame a little; that much is clipped silently.
_OVERSHOOT = 0.01
_SHOWN = 5

Size = tuple[float, float]
COLUMNS = ('video', 'timestamp', 'x1', 'y1', 'x2', 'y2', 'score')
"""Columns of a csv of boxes without a header."""
_REQUIRED = COLUMNS[:6]  # boxes may come without confidences
_KNOWN = COLUMNS + ('width', 'height')
# FAIR's files, of Long-Term Feature Banks and SlowFast.
_WITH_ACTION = _REQUIRED + ('action', 'score')
_SYNONYMS = dict(
    video_id='video', video_name='video', time='timestamp', sec='timestamp', second='timestamp',
    xmin='x1', ymin='y1', xmax='x2', ymax='y2', confidence='score', conf='score',
)  # fmt: skip


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
            raise VideoError(_wrong_lines(self.path, self.problems, self.lines))
        if not self.lines:
            raise VideoError(f'{self.path} is empty')


def _wrong_lines(path: str | Path, problems: list[str], correct: int) -> str:
    return (
        f'{path}: {len(problems)} of {correct + len(problems)} lines are wrong:\n  '
        + '\n  '.join(problems[:_SHOWN])
    )


def frame_key(video: str, timestamp: int | str) -> str:
    """The key of a frame: ``('abc', 902)`` -> ``'abc,0902'``."""
    return f'{video},{int(timestamp):04d}'


def some_of(names: Iterable[Any], limit: int = _SHOWN) -> str:
    """The first few names in order, and how many more there are."""
    names = sorted(names)
    shown = ', '.join(repr(name) for name in names[:limit])
    return shown if len(names) <= limit else f'{shown} and {len(names) - limit} more'


def scan_annotations(path: str, num_classes: int | None = None) -> AVAAnnotations:
    """Read an annotation file and check every line.

    Args:
        path: the csv.
        num_classes: labels must be smaller, if given.

    Returns:
        A summary with all wrong lines; its ``check()`` raises for them.
    """
    found = AVAAnnotations(path)
    with open(path, encoding='utf-8') as file:
        for number, line in enumerate(file, start=1):
            line = line.strip()
            try:
                video, timestamp, label = _parse_annotation(line, num_classes)
            except ValueError as error:
                found.problems.append(f'line {number}: {error}\n    {line}')
                continue
            found.lines += 1
            found.timestamps.setdefault(video, set()).add(timestamp)
            found.labels[label] += 1
    return found


def _parse_annotation(line: str, num_classes: int | None) -> tuple[str, int, int]:
    """Video, timestamp and label."""
    fields = line.split(',')
    if len(fields) != 8:
        raise ValueError(
            f'{len(fields)} fields instead of 8: video, timestamp, x1, y1, x2, y2, label, person'
        )
    video, timestamp, *corners, label, person = fields
    if not any(corners):
        raise ValueError('it has no box; remove frames without boxes')
    x1, y1, x2, y2 = (_number(float, *pair) for pair in zip(('x1', 'y1', 'x2', 'y2'), corners))
    if not (0 <= x1 <= x2 <= 1 and 0 <= y1 <= y2 <= 1):
        raise ValueError(
            'the box is not 0 <= x1 <= x2 <= 1 and 0 <= y1 <= y2 <= 1 (relative to width and '
            'height, not pixels)'
        )
    _number(int, 'person', person)
    number = _number(int, 'label', label)
    if number < 1 or (num_classes is not None and number >= num_classes):
        below = '' if num_classes is None else f' and below num_classes={num_classes}'
        raise ValueError(f'the label must be at least 1{below} (0 is the background)')
    return video, _number(int, 'timestamp', timestamp), number


def _number(kind: type, name: str, text: str) -> Any:
    try:
        value = kind(text)
    except ValueError:
        whole = 'whole ' if kind is int else ''
        raise ValueError(f'{name} is not a {whole}number: {text!r}') from None
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
    with open(path, encoding='utf-8') as file:
        for number, line in enumerate(file, start=1):
            video, _, timestamp = line.strip().partition(',')
            if not timestamp.isdigit():
                raise VideoError(
                    f'{path}, line {number}: it is not `video,timestamp`:\n    {line.strip()}'
                )
            excluded.add(frame_key(video, timestamp))
    return excluded


def read_label_map(path: str) -> dict[int, str]:
    """Labels and their names.

    Raises:
        VideoError: MMAction2's reader finds no label.
    """
    from mmaction.evaluation import read_labelmap

    with open(path, encoding='utf-8') as file:
        names, _ = read_labelmap(file)
    if not names:
        raise VideoError(
            f'{path} has no label: an item needs a line `  name: "..."` and then a line `  id: 1` '
            '(or `  label_id: 1`), both indented by two spaces'
        )
    return {item['id']: item['name'] for item in names}


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
            proposals[str(key)] = boxes
    return proposals


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
    if boxes.size and (boxes.min() < -_OVERSHOOT or boxes.max() > 1 + _OVERSHOOT):
        raise ValueError(
            f'values from {boxes.min():g} to {boxes.max():g}; corners are relative to width and '
            'height (not pixels), confidences from 0 to 1'
        )
    if (boxes[:, :2] > boxes[:, 2:4]).any():
        raise ValueError('a box has x1 > x2 or y1 > y2 (x, y, width, height?)')
    return boxes.clip(0, 1)


def write_proposals(path: str | Path, proposals: dict[str, np.ndarray]) -> None:
    """Write proposals as MMAction2 reads them; the file appears when it is complete."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f'.{path.name}.part')
    try:
        part.write_bytes(pickle.dumps(proposals, protocol=4))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


class DetectorBoxes(NamedTuple):
    """The boxes of a file.

    Attributes:
        proposals: frame key -> (N, 5), or (N, 4) without confidences; the most confident first.
        num_boxes: different boxes.
        repeated: repetitions that were left out.
        foreign: boxes left out because their frame is not described.
    """

    proposals: dict[str, np.ndarray]
    num_boxes: int
    repeated: int
    foreign: int = 0


class _Frames:
    """Collects boxes by frame, each once, with its best confidence."""

    def __init__(self) -> None:
        self.scores: dict[str, dict[tuple, float]] = {}
        self.repeated = 0

    def add(self, key: str, values: Sequence[float], size: Size | None) -> None:
        """Add x1, y1, x2, y2 and perhaps a confidence; in pixels if there is a frame size."""
        row = np.array([values], dtype=np.float64)
        if size is not None:
            row[:, :4] /= np.tile(size, 2)
        *corners, score = (*check_proposals(row)[0], 0.0)[:5]
        box = tuple(corners)
        known = self.scores.setdefault(key, {})
        self.repeated += box in known
        known[box] = max(score, known.get(box, score))

    def result(self, scored: bool, foreign: int = 0) -> DetectorBoxes:
        proposals = {}
        for key, boxes in sorted(self.scores.items()):
            rows = np.array([(*box, score) for box, score in boxes.items()])
            rows = rows[np.argsort(-rows[:, 4], kind='stable')]
            proposals[key] = rows if scored else rows[:, :4]
        return DetectorBoxes(proposals, sum(map(len, proposals.values())), self.repeated, foreign)


def read_box_csv(
    path: str | Path, columns: Sequence[str] | None = None, size: Size | None = None
) -> DetectorBoxes:
    """Read the boxes of a csv.

    The columns are those named by ``columns``, or by a first line without numbers, or
    :data:`COLUMNS`, or (8 of them) those of FAIR's files: an action, which is ignored, before the
    confidence. Endings of video files are removed from the names of videos.

    Args:
        path: the csv.
        columns: names of the columns of a csv without a header: those of :data:`COLUMNS`,
            ``width`` and ``height``; others are ignored.
        size: width and height of all frames; corners then are pixels, as they are if there are
            columns ``width`` and ``height``. Otherwise they are relative.

    Raises:
        VideoError: the file is wrong; lines are named.
    """
    frames, problems, count, largest = _Frames(), [], 0, 0.0
    names: list[str] = []
    if columns is not None:
        names = _check_columns(columns, f'{path}: columns={",".join(columns)}')
    with open(path, encoding='utf-8-sig', newline='') as file:
        reader = csv.reader(file)
        for fields in reader:
            if not any(fields):
                continue
            if not names:
                names, is_header = _find_columns(fields, path)
                if is_header:
                    continue
            count += 1
            try:
                if len(fields) != len(names):
                    raise ValueError(f'it has {len(fields)} fields instead of {len(names)}')
                key, values, own_size = _parse_box(dict(zip(names, fields)))
                frames.add(key, values, own_size or size)
                largest = max(largest, *values[:4])
            except ValueError as error:
                problems.append(f'line {reader.line_num}: {error}\n    {",".join(fields)}')
    if not count:
        raise VideoError(f'{path} has no boxes')
    if problems:
        hint = ''
        if size is None and any('pixels' in problem for problem in problems):
            hint = '\n  (corners in pixels: give the size of the frames)'
        raise VideoError(_wrong_lines(path, problems, count - len(problems)) + hint)
    if size is not None and largest <= 1 + _OVERSHOOT:
        raise VideoError(
            f'{path}: no corner is larger than {largest:g}, so they are relative to the frame '
            'already: leave the size out'
        )
    scores = {score for boxes in frames.scores.values() for score in boxes.values()}
    if tuple(names) == _WITH_ACTION and scores <= {0.0, 1.0}:
        raise VideoError(
            f'{path}: the last of 8 columns is 0 or 1 in every line: is it a person of an '
            'annotation file? If it is a confidence, name the columns'
        )
    return frames.result('score' in names)


def _find_columns(fields: Sequence[str], path: str | Path) -> tuple[list[str], bool]:
    """Names of the columns, and whether the first line has them."""
    if not any(_is_number(text) for text in fields):
        names = [text.strip().lower() for text in fields]
        names = [_SYNONYMS.get(name, name) for name in names]
        return _check_columns(names, f'{path}: its header {",".join(fields)}'), True
    for known in (_REQUIRED, COLUMNS, _WITH_ACTION):
        if len(fields) == len(known):
            return list(known), False
    raise VideoError(
        f'{path}, line 1: {len(fields)} columns. Without a header there are 7 '
        f'({",".join(COLUMNS)}), or 8 with an action before the score, or 6 without a score. '
        f'Name others in a header:\n    {",".join(fields)}'
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _check_columns(names: Sequence[str], subject: str) -> list[str]:
    missing = [name for name in _REQUIRED if name not in names]
    if missing:
        raise VideoError(f'{subject} lacks {", ".join(missing)}; known are {", ".join(_KNOWN)}')
    if ('width' in names) != ('height' in names):
        raise VideoError(f'{subject} has only one of width and height')
    repeated = {name for name in names if name in _KNOWN and list(names).count(name) > 1}
    if repeated:
        raise VideoError(f'{subject} has {some_of(repeated)} twice')
    return list(names)


def _parse_box(row: dict[str, str]) -> tuple[str, list[float], Size | None]:
    """Frame key, corners with perhaps a confidence, and perhaps the frame's size."""
    video = row['video'].strip()
    stem, ending = os.path.splitext(video)
    if ending.lower() in VIDEO_EXTENSIONS:
        video = stem
    if not video:
        raise ValueError('it has no video')
    time = _number(float, 'timestamp', row['timestamp'])
    if time != int(time):
        raise ValueError(f'timestamp is not a whole second: {time:g}')
    values = [_number(float, name, row[name]) for name in COLUMNS[2:] if name in row]
    size = None
    if 'width' in row:
        size = tuple(_number(float, name, row[name]) for name in ('width', 'height'))
        if min(size) <= 0:
            raise ValueError(f'the frame has {size[0]:g} x {size[1]:g} pixels')
    return frame_key(video, int(time)), values, size


def read_aia_boxes(path: str | Path, images: str | Path) -> DetectorBoxes:
    """Read boxes as AIA (AlphAction) publishes them.

    Args:
        path: a json list of ``{"image_id", "bbox", "score"}``; boxes are x, y, width, height in
            pixels.
        images: a json file with ``{"images": [{"id", "movie", "timestamp", "width", "height"},
            ...]}``.

    Raises:
        VideoError: a file is wrong, or no box is of a described frame.
    """
    boxes, described = _read_json(path), _read_json(images)
    if not isinstance(boxes, list) or not boxes:
        raise VideoError(f'{path} is not a list of boxes')
    try:
        known = {
            one['id']: (
                frame_key(one['movie'], one['timestamp']),
                (float(one['width']), float(one['height'])),
            )
            for one in described['images']
        }
    except (KeyError, TypeError, ValueError) as error:
        raise VideoError(
            f'{images} does not describe key frames ({type(error).__name__}: {error}); it needs '
            '{"images": [{"id", "movie", "timestamp", "width", "height"}, ...]}'
        ) from None
    frames, foreign = _Frames(), 0
    for number, one in enumerate(boxes):
        try:
            if one['image_id'] not in known:
                foreign += 1
                continue
            key, size = known[one['image_id']]
            x, y, width, height = map(float, one['bbox'])
            frames.add(key, (x, y, x + width, y + height, one['score']), size)
        except (KeyError, TypeError, ValueError) as error:
            raise VideoError(
                f'{path}: box number {number} is wrong: {type(error).__name__}: {error}\n    {one}'
            ) from None
    if not frames.scores:
        raise VideoError(
            f'no box of {path} is of a frame of {images}: image_id '
            f'{some_of({str(one["image_id"]) for one in boxes})}; id {some_of(map(str, known))}'
        )
    return frames.result(True, foreign)


def _read_json(path: str | Path) -> Any:
    try:
        return json.loads(Path(path).read_text(encoding='utf-8'))
    except ValueError as error:  # JSON or its encoding
        raise VideoError(f'{path} is not a json file: {error}') from None
