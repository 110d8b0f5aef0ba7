"""Boxes of person detectors as AVA's proposals: from csv, and from AIA's json."""

import csv
import json
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import VideoError
from .ava_files import OVERSHOOT, check_proposals, frame_key, parse_number, parse_whole, wrong_lines
from .video_reader import VIDEO_EXTENSIONS

Size = tuple[float, float]
COLUMNS = ('video', 'timestamp', 'x1', 'y1', 'x2', 'y2', 'score')
_HEADERLESS = {
    6: COLUMNS[:6],
    7: COLUMNS,
    8: (*COLUMNS[:6], 'action', 'score'),  # FAIR: Long-Term Feature Banks, SlowFast
}


class DetectorBoxes(NamedTuple):
    """The boxes of a file.

    Attributes:
        proposals: frame key -> (N, 5), or (N, 4) without confidences; the most confident first.
        repeated: number of repetitions, which are left out.
        foreign: number of boxes left out because their frame is not described.
    """

    proposals: dict[str, np.ndarray]
    repeated: int
    foreign: int = 0


def read_box_csv(path: str | Path, size: Size | None = None) -> DetectorBoxes:
    """Read the boxes of a csv.

    A header names the columns: those of :data:`COLUMNS`, of which ``score`` may be missing,
    perhaps ``width`` and ``height`` of the frame; others are ignored. Without a header there are 6
    or 7 columns in this order, or 8 as in FAIR's files: an action before the score, which is
    ignored. Endings of video files are removed from the names of videos.

    Args:
        path: the csv.
        size: width and height of all frames. With it, or with columns ``width`` and ``height``,
            corners are pixels; otherwise they are relative.

    Raises:
        VideoError: the file is wrong; lines are named.
    """
    rows: dict[str, list[np.ndarray]] = defaultdict(list)
    problems: list[str] = []
    names: Sequence[str] = ()
    with open(path, encoding='utf-8-sig', newline='') as file:
        reader = csv.reader(file)
        for fields in filter(any, reader):
            if not names:
                names, is_header = _find_columns(fields, path)
                if is_header:
                    continue
            try:
                key, row = _parse_box(names, fields, size)
            except ValueError as error:
                problems.append(f'line {reader.line_num}: {error}\n    {",".join(fields)}')
            else:
                rows[key].append(row)
    if problems:
        raise wrong_lines(path, problems, sum(map(len, rows.values())))
    if not rows:
        raise VideoError(f'{path} has no boxes')
    found = _once_each(rows)
    if size is not None:
        pixels = np.concatenate(list(found.proposals.values()))[:, :4] * np.tile(size, 2)
        if pixels.max() <= 1 + OVERSHOOT:
            raise VideoError(
                f'{path}: no corner is larger than {pixels.max():g}, so they are relative to the '
                'frame already: leave the size out'
            )
    return found


def _find_columns(fields: Sequence[str], path: str | Path) -> tuple[Sequence[str], bool]:
    """Names of the columns, and whether the first line is a header."""
    names = [text.strip().lower() for text in fields]
    if 'video' in names:
        sizes = ('width', 'height') if {'width', 'height'} & set(names) else ()
        required = COLUMNS[:6] + sizes
        missing = [name for name in required if name not in names]
        if missing:
            raise VideoError(f'{path}: its header {",".join(fields)} lacks {", ".join(missing)}')
        return names, True
    if len(names) not in _HEADERLESS:
        raise VideoError(
            f'{path}, line 1: {len(names)} columns. Begin with a header, '
            f'{",".join(COLUMNS)} in any order:\n    {",".join(fields)}'
        )
    return _HEADERLESS[len(names)], False


def _parse_box(
    names: Sequence[str], fields: Sequence[str], size: Size | None
) -> tuple[str, np.ndarray]:
    """Frame key and proposal (4,) or (5,)."""
    if len(fields) != len(names):
        raise ValueError(f'it has {len(fields)} fields instead of {len(names)}')
    row = dict(zip(names, fields))
    video = row['video'].strip()
    stem, ending = os.path.splitext(video)
    if ending.lower() in VIDEO_EXTENSIONS:
        video = stem
    time = parse_whole('timestamp', row['timestamp'])
    values = [parse_number(name, row[name]) for name in COLUMNS[2:] if name in row]
    if 'width' in row:
        size = (parse_number('width', row['width']), parse_number('height', row['height']))
    return frame_key(video, time), _proposal(values, size)


def _proposal(values: Sequence[float], size: Size | None) -> np.ndarray:
    """Corners and perhaps a confidence; corners are pixels if there is the frame's size."""
    box = np.array(values, dtype=np.float64)
    if size is not None:
        box[:4] /= np.tile(size, 2)
    return check_proposals(box[None])[0]


def _once_each(rows: dict[str, list[np.ndarray]], foreign: int = 0) -> DetectorBoxes:
    """Sort the boxes of each frame by confidence, and leave repetitions out."""
    proposals = {}
    for key, row in sorted(rows.items()):
        boxes = np.stack(row)
        if boxes.shape[1] == 5:
            boxes = boxes[np.argsort(-boxes[:, 4], kind='stable')]
        _, first = np.unique(boxes[:, :4], axis=0, return_index=True)
        proposals[key] = boxes[np.sort(first)]
    repeated = sum(map(len, rows.values())) - sum(map(len, proposals.values()))
    return DetectorBoxes(proposals, repeated, foreign)


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
    try:
        frames = {
            one['id']: (frame_key(one['movie'], one['timestamp']), (one['width'], one['height']))
            for one in described['images']
        }
    except (KeyError, TypeError, ValueError) as error:
        raise VideoError(
            f'{images} does not describe key frames ({type(error).__name__}: {error}); it needs '
            '{"images": [{"id", "movie", "timestamp", "width", "height"}, ...]}'
        ) from None
    rows: dict[str, list[np.ndarray]] = defaultdict(list)
    foreign = 0
    for number, one in enumerate(boxes):
        try:
            if one['image_id'] not in frames:
                foreign += 1
                continue
            key, size = frames[one['image_id']]
            x, y, width, height = one['bbox']
            rows[key].append(_proposal((x, y, x + width, y + height, one['score']), size))
        except (KeyError, TypeError, ValueError) as error:
            raise VideoError(
                f'{path}: box number {number} is wrong: {type(error).__name__}: {error}\n    {one}'
            ) from None
    if not rows:
        raise VideoError(f'{path} has no box of a frame that {images} describes')
    return _once_each(rows, foreign)


def _read_json(path: str | Path) -> Any:
    try:
        return json.loads(Path(path).read_text(encoding='utf-8'))
    except ValueError as error:  # JSON or its encoding
        raise VideoError(f'{path} is not a json file: {error}') from None
