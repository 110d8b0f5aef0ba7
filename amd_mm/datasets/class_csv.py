"""Tables of samples: a csv with the columns path, class and, if you like, split."""

import csv
import os
from typing import NamedTuple

from ..errors import VideoError
from .files import IMAGE_EXTENSIONS, read_lines
from .list_files import find_named
from .video_reader import VIDEO_EXTENSIONS

_COLUMNS = ('path', 'class', 'split')
_PARTS = ('train', 'val')
_ENDINGS = dict(video=VIDEO_EXTENSIONS, image=IMAGE_EXTENSIONS)


class ClassRow(NamedTuple):
    """One row: a file, its class, ``train``, ``val`` or (without the column) ``''``, its kind."""

    name: str
    label: str
    split: str
    kind: str


def read_class_csv(path: str) -> list[ClassRow]:
    """Read and check a csv (UTF-8) of files and their classes.

    A first line ``path,class`` or ``path,class,split``, in any order, names the columns; without
    it, they have that order. Paths start from the folder of the csv.

    Returns:
        At least one row, in the file's order; all of one kind, ``video`` or ``image``.

    Raises:
        VideoError: A line is wrong, or its file does not exist; the message has the file and the
            line.
    """
    folder = os.path.dirname(path)
    rows: list[ClassRow] = []
    lines: dict[str, int] = {}  # path -> its line
    columns: list[str] = []
    for number, line in read_lines(path):
        try:
            cells = [
                cell.strip()
                for cell in next(csv.reader([line], skipinitialspace=True, strict=True))
            ]
            if not columns:
                columns, header = _columns_of(cells)
                if header:
                    continue
            row = _read_row(cells, columns)
            if rows and row.kind != rows[0].kind:
                raise ValueError('all files must be videos, or all must be images')
            if row.name in lines:
                raise ValueError(f'{row.name} is also in line {lines[row.name]}')
            if not os.path.isfile(find_named(folder, row.name)):
                raise ValueError(f'there is no file {os.path.join(folder, row.name)}')
        except (ValueError, csv.Error) as error:
            raise VideoError(f'{path}, line {number}: {error}\n    {line}') from None
        lines[row.name] = number
        rows.append(row)
    if not rows:
        raise VideoError(f"{path} has no samples. Write one a line, such as 'clips/a.mp4,jump'")
    return rows


def _columns_of(cells: list[str]) -> tuple[list[str], bool]:
    """The names of the columns, and whether the first line has them."""
    names = [cell.lower() for cell in cells]
    if {'path', 'class'} <= set(names):
        if set(names) - set(_COLUMNS) or len(set(names)) < len(names):
            raise ValueError('the columns are path, class and, if you like, split')
        return names, True
    return list(_COLUMNS[: max(2, min(3, len(cells)))]), False


def _read_row(cells: list[str], columns: list[str]) -> ClassRow:
    if len(cells) != len(columns) or not all(cells):
        raise ValueError(
            f'expected {len(columns)} cells that are not empty ({",".join(columns)}), separated by '
            'commas; a name with a comma needs quotes'
        )
    cell = dict(zip(columns, cells))
    split = cell.get('split', '')
    if split and split not in _PARTS:
        raise ValueError(f'the split {split!r} is neither train nor val')
    for kind, endings in _ENDINGS.items():
        if cell['path'].lower().endswith(endings):
            return ClassRow(cell['path'], cell['class'], split, kind)
    raise ValueError(f'{cell["path"]!r} has no ending of a video or an image')
