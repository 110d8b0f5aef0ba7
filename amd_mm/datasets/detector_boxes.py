"""Boxes of people as detectors write them, for AVA-style data sets.

Whatever they come from, they become *proposals*: frame key -> (N, 5) of x1,
y1, x2, y2 (shares of the frame) and the confidence, as MMAction2 reads them
from a pickle (see :mod:`amd_mm.datasets.ava_files`).
"""

import csv
import json
import os
import pickle
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .ava_files import AVADataError, LineProblem, check_proposals, frame_key, some_of
from .video_reader import VIDEO_EXTENSIONS

Size = tuple[float, float]

COLUMNS = ('video', 'timestamp', 'x1', 'y1', 'x2', 'y2', 'score')
"""Columns of a csv of boxes, in the order that one without a header has."""
_NEEDED = COLUMNS[:6]  # boxes may come without confidences
_USED = COLUMNS + ('width', 'height')
# FAIR's files, of Long-Term Feature Banks and SlowFast.
_WITH_ACTION = COLUMNS[:6] + ('action', 'score')
_OTHER_NAMES = dict(
    video_id='video',
    video_name='video',
    time='timestamp',
    sec='timestamp',
    second='timestamp',
    xmin='x1',
    ymin='y1',
    xmax='x2',
    ymax='y2',
    confidence='score',
    conf='score',
)
_SHOWN = 5


class DetectorBoxes(NamedTuple):
    """What a file of boxes holds.

    Attributes:
        proposals (Dict[str, np.ndarray]): Frame key -> (N, 5), or (N, 4) if
            the file has no confidences; the most confident first.
        num_boxes (int): Boxes, each once.
        repeated (int): Boxes left out because they came before.
        foreign (int): Boxes left out because their frame is not described.
    """

    proposals: dict[str, np.ndarray]
    num_boxes: int
    repeated: int
    foreign: int = 0


class _Collected:
    """Boxes by frame, each once, with its best confidence."""

    def __init__(self) -> None:
        self.frames: dict[str, dict[tuple, float]] = {}
        self.repeated = 0

    def add(self, key: str, values: Sequence[float], size: Size | None) -> None:
        """Take a box.

        Args:
            key (str): Of the frame.
            values (Sequence[float]): x1, y1, x2, y2 and perhaps a confidence.
            size (tuple[float, float], optional): Width and height of the
                frame if corners are pixels; None for shares.

        Raises:
            ValueError: If they are no box.
        """
        row = np.array([values], dtype=np.float64)
        if size is not None:
            row[:, :4] /= np.tile(size, 2)
        *corners, score = (*check_proposals(row)[0], 0.0)[:5]
        known = self.frames.setdefault(key, {})
        box = tuple(corners)
        self.repeated += box in known
        known[box] = max(score, known.get(box, score))

    def result(self, scored: bool, foreign: int = 0) -> DetectorBoxes:
        """All of it, as arrays."""
        proposals = {}
        for key, boxes in sorted(self.frames.items()):
            rows = np.array([(*box, score) for box, score in boxes.items()])
            order = np.argsort(-rows[:, 4], kind='stable')
            proposals[key] = rows[order, : 5 if scored else 4]
        count = sum(map(len, proposals.values()))
        return DetectorBoxes(proposals, count, self.repeated, foreign)


def read_box_csv(
    path: str | Path, columns: Sequence[str] | None = None, size: Size | None = None
) -> DetectorBoxes:
    """Read the boxes of a csv.

    Its columns are named by ``columns``, or by the first line if nothing in
    it is a number, or are :data:`COLUMNS`, or (8 of them) those of FAIR's
    files: the same with the action, which is ignored, before the confidence.
    Endings of video files are cut off the names of videos.

    Args:
        path (str | Path): The file, separated by commas.
        columns (Sequence[str], optional): Names of its columns: those of
            :data:`COLUMNS`, ``width`` and ``height``; others are ignored.
            A header is not expected then.
        size (tuple[float, float], optional): Width and height of all frames;
            corners are pixels then, as they are if there are columns
            ``width`` and ``height``. Else they are shares.

    Returns:
        DetectorBoxes: The boxes.

    Raises:
        AVADataError: If it is no such file; lines are named.
    """
    collected, problems = _Collected(), []
    reach, count = 0.0, 0
    with open(path, encoding='utf-8-sig', newline='') as file:
        reader = csv.reader(file)
        names: list[str] | None = (
            None if columns is None else _checked(columns, f'columns={",".join(columns)}', path)
        )
        for fields in reader:
            if not any(fields):
                continue
            if names is None:
                names, is_header = _columns_of(fields, path)
                if is_header:
                    continue
            count += 1
            try:
                key, values, own_size = _parse(dict(zip(names, fields)), len(fields) - len(names))
                collected.add(key, values, own_size or size)
                reach = max(reach, *values[:4])
            except ValueError as error:
                problems.append(LineProblem(reader.line_num, str(error), ','.join(fields)))
    if not count:
        raise AVADataError(f'{path} has no boxes')
    if problems:
        raise AVADataError(_describe(path, problems, count, size))
    if size is not None and reach <= 1.01:
        raise AVADataError(
            f'{path}: no corner is larger than {reach:g}, so they are shares '
            'of the frame already, not pixels: leave the size out'
        )
    assert names is not None  # there was a line
    _check_scores(path, names, collected)
    return collected.result('score' in names)


def _columns_of(fields: Sequence[str], path: str | Path) -> tuple[list[str], bool]:
    """Names of the columns, and whether the first line has them."""
    if not any(_is_number(field) for field in fields):
        names = [field.strip().lower() for field in fields]
        names = [_OTHER_NAMES.get(name, name) for name in names]
        return _checked(names, f'its header {",".join(fields)}', path), True
    for known in (_NEEDED, COLUMNS, _WITH_ACTION):
        if len(fields) == len(known):
            return list(known), False
    raise AVADataError(
        f'{path}, line 1: without a header there are 7 columns '
        f'({",".join(COLUMNS)}), or 8 with an action before the score, or 6 '
        f'without a score; this has {len(fields)}. Name them in a header or '
        'with --columns:\n    ' + ','.join(fields)
    )


def _checked(names: Sequence[str], what: str, path: str | Path) -> list[str]:
    lacking = [name for name in _NEEDED if name not in names]
    if lacking:
        raise AVADataError(
            f'{path}: {what} lacks {", ".join(lacking)}; the names are {", ".join(_USED)}'
        )
    if ('width' in names) != ('height' in names):
        raise AVADataError(f'{path}: {what} has only one of width and height')
    doubled = {name for name in names if name in _USED and list(names).count(name) > 1}
    if doubled:
        raise AVADataError(f'{path}: {what} has {some_of(doubled)} twice')
    return list(names)


def _parse(row: dict[str, str], surplus: int) -> tuple[str, list[float], Size | None]:
    """Key, box and frame size of a line; a ValueError says what is bad."""
    if surplus:
        raise ValueError(f'it has {abs(surplus)} fields too {"many" if surplus > 0 else "few"}')
    video = row['video'].strip()
    stem, ending = os.path.splitext(video)
    if ending.lower() in VIDEO_EXTENSIONS:
        video = stem
    if not video:
        raise ValueError('it has no video')
    time = _number('timestamp', row)
    if time != int(time):
        raise ValueError(f'timestamp is no whole second: {time:g}')
    values = [_number(name, row) for name in COLUMNS[2:] if name in row]
    size = None
    if 'width' in row:
        size = _number('width', row), _number('height', row)
        if min(size) <= 0:
            raise ValueError(f'the frame is {size[0]:g} x {size[1]:g} pixels')
    return frame_key(video, int(time)), values, size


def _number(name: str, row: dict[str, str]) -> float:
    try:
        value = float(row[name])
    except ValueError:
        raise ValueError(f'{name} is no number: {row[name]!r}') from None
    if not np.isfinite(value):
        raise ValueError(f'{name} is not finite')
    return value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _describe(path: str | Path, problems: list[LineProblem], count: int, size: Size | None) -> str:
    text = f'{path}: {len(problems)} of {count} lines are wrong:\n  '
    text += '\n  '.join(map(str, islice(problems, _SHOWN)))
    if size is None and any('pixels' in one.problem for one in problems):
        text += '\n  (corners in pixels: --size, or --pixels in the demo)'
    return text


def _check_scores(path: str | Path, names: Sequence[str], collected: _Collected) -> None:
    """An annotation file has 8 columns too; its last is a person."""
    if list(names) == list(_WITH_ACTION):
        scores = {score for boxes in collected.frames.values() for score in boxes.values()}
        if scores <= {0.0, 1.0}:
            raise AVADataError(
                f'{path}: the last of its 8 columns is 0 or 1 in every line: '
                'a person of an annotation file, not a confidence? If it is '
                'one, name the columns with --columns'
            )


def read_aia_boxes(path: str | Path, images: str | Path) -> DetectorBoxes:
    """Read boxes as AIA (AlphAction) publishes them.

    Args:
        path (str | Path): A json list of ``{"image_id", "bbox", "score"}``;
            boxes are x, y, width, height in pixels.
        images (str | Path): A json file with ``{"images": [{"id", "movie",
            "timestamp", "width", "height"}, ...]}``.

    Returns:
        DetectorBoxes: The boxes of described frames.

    Raises:
        AVADataError: If one is no such file, or they do not meet.
    """
    boxes, described = _read_json(path), _read_json(images)
    if not isinstance(boxes, list) or not boxes:
        raise AVADataError(f'{path} is no list of boxes')
    try:
        frames = {
            one['id']: (
                frame_key(one['movie'], one['timestamp']),
                (float(one['width']), float(one['height'])),
            )
            for one in described['images']
        }
    except (KeyError, TypeError, ValueError) as error:
        raise AVADataError(
            f'{images} does not describe key frames: it needs '
            '{"images": [{"id", "movie", "timestamp", "width", "height"}, '
            f'...]}} ({type(error).__name__}: {error})'
        ) from None
    collected, foreign = _Collected(), 0
    for number, one in enumerate(boxes):
        try:
            if one['image_id'] not in frames:
                foreign += 1
                continue
            key, size = frames[one['image_id']]
            x, y, width, height = map(float, one['bbox'])
            collected.add(key, (x, y, x + width, y + height, one['score']), size)
        except (KeyError, TypeError, ValueError) as error:
            raise AVADataError(
                f'{path}: box number {number} is wrong: {type(error).__name__}: {error}\n    {one}'
            ) from None
    if not collected.frames:
        raise AVADataError(
            f'no box of {path} is of a frame of {images}: image_id '
            f'{some_of({str(one["image_id"]) for one in boxes})}; id '
            f'{some_of(map(str, frames))}'
        )
    return collected.result(True, foreign)


def _read_json(path: str | Path) -> Any:
    try:
        return json.loads(Path(path).read_text(encoding='utf-8'))
    except ValueError as error:  # JSON or its encoding
        raise AVADataError(f'{path} is no json: {error}') from None


def write_proposals(path: str | Path, proposals: dict[str, np.ndarray]) -> None:
    """Write proposals as MMAction2 reads them.

    The file appears under its name when it is complete. Folders are made.

    Args:
        path (str | Path): The pickle.
        proposals (Dict[str, np.ndarray]): Frame key -> (N, 5) or (N, 4).
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f'.{path.name}.part')
    try:
        part.write_bytes(pickle.dumps(proposals, protocol=4))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
