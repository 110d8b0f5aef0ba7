"""List files: one sample per line, in MMAction2's format.

A line of a video list is ``name label``, of a raw-frame list ``folder total_frames label`` or
``folder offset total_frames label``. Either all lines have labels or none. Numbers are read from
the end of the line, so names may contain spaces and the delimiter. Where the names of the classes
are known, a label may also be one of them. Empty lines are skipped. Comments are not supported,
because some names of HMDB51 begin with ``#``.
"""

import logging
import os.path as osp
import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from mmengine.fileio import exists
from mmengine.logging import print_log

from ..errors import VideoError
from .files import IMAGE_EXTENSIONS, read_lines
from .video_reader import VIDEO_EXTENSIONS

_ENDINGS = VIDEO_EXTENSIONS + IMAGE_EXTENSIONS
# 'clip.mp4 x3' has a bad label; 'my clip.mp4' and 'one.mp4 two.mp4' are names.
_NAME_AND_REST = re.compile(rf'(.*(?i:{"|".join(map(re.escape, _ENDINGS))}))[\s,;]+\S')


class ListEntry(NamedTuple):
    """One line of a list file.

    Attributes:
        name: the video, or the folder of frames.
        counts: empty for videos; (total_frames, ) or (offset, total_frames) for raw frames.
        labels: empty if the list has none.
        line_number: from 1.
        line: as it is in the file.
    """

    name: str
    counts: tuple[int, ...]
    labels: tuple[int, ...]
    line_number: int
    line: str


def read_list_file(
    path: str,
    delimiter: str = ' ',
    num_counts: int = 0,
    multi_class: bool = False,
    num_classes: int | None = None,
    classes: Sequence[str] = (),
) -> list[ListEntry]:
    """Read and check a list file (UTF-8).

    Args:
        path: the list file.
        delimiter: separates the fields; a space stands for any white space.
        num_counts: integers between name and labels: 0 for videos, 1 (total frames) or 2 (offset,
            total frames) for raw frames.
        multi_class: each line has one or more labels.
        num_classes: if given, labels must be smaller.
        classes: names of the classes in the order of their numbers; labels may be names, too,
            except names that are integers.

    Returns:
        At least one entry, in the file's order. A warning tells of samples that are there twice.

    Raises:
        VideoError: the file is missing, empty or not UTF-8, or a line is wrong; the message names
            the file and the line.
        ValueError: the delimiter is empty.
    """
    if not delimiter:
        raise ValueError("delimiter is empty: give ' ' or ',' for instance")
    if not path or not exists(path):
        problem = f'{path}: no such list file' if path else 'ann_file is not given'
        raise VideoError(
            f"{problem}. Give a text file with one sample per line, such as 'clip.mp4 3', or use "
            'VideoFolderDataset, which needs no list'
        )
    # An integer is always a number, also where a class has that name.
    numbers = {name: number for number, name in enumerate(classes) if not _is_integer(name)}
    entries = []
    for number, line in read_lines(path):
        try:
            numbered = _number_classes(line, delimiter, numbers) if numbers else line
            name, counts, labels = parse_line(numbered, delimiter, num_counts, multi_class)
            _check_labels(labels, multi_class, num_classes)
        except ValueError as error:
            raise VideoError(f'{path}, line {number}: {error}\n    {line}') from None
        entries.append(ListEntry(name, counts, labels, number, line))
    if not entries:
        raise VideoError(
            f"{path}: the list has no entries. Write one sample per line, such as 'clip.mp4 3'"
        )
    labelled = [entry for entry in entries if entry.labels]
    if labelled and len(labelled) < len(entries):
        odd = next(entry for entry in entries if not entry.labels)
        raise VideoError(
            f'{path}, line {odd.line_number}: no label here, but line {labelled[0].line_number} '
            'has one. Label all lines or none; if a name ends in a number, use another '
            f'delimiter\n    {odd.line}'
        )
    _warn_of_duplicates(path, entries)
    return entries


def _warn_of_duplicates(path: str, entries: list[ListEntry]) -> None:
    first: dict[tuple, ListEntry] = {}
    twice = [one for one in entries if first.setdefault((one.name, one.counts), one) is not one]
    if twice:
        one = twice[0]
        former = first[one.name, one.counts]
        label = '' if one.labels == former.labels else ', with another label'
        print_log(
            f'{path}: {len(twice)} of {len(entries)} lines name a sample again, as line '
            f'{one.line_number} that of line {former.line_number}{label}',
            'current',
            logging.WARNING,
        )


def _number_classes(line: str, delimiter: str, numbers: dict[str, int]) -> str:
    """Replace names of classes at the end of a line by their numbers."""
    separator = r'\s+' if delimiter == ' ' else re.escape(delimiter)
    found: list[str] = []
    while True:
        # The longest name counts: names of classes may have spaces, too.
        ends = re.finditer(separator, line)
        end = next((one for one in ends if line[one.end() :].strip() in numbers), None)
        if end is None:
            return delimiter.join([line, *found])
        found.insert(0, str(numbers[line[end.end() :].strip()]))
        line = line[: end.start()]


def find_named(folder: str, name: str) -> str:
    """The path of a file that a list names.

    A name that was written on another system is found, too: with backslashes between folders
    (Windows) or with its accents as characters of their own (macOS).

    Args:
        folder: where relative names start.
        name: relative or absolute.
    """
    path = osp.join(folder, name)
    if (name.isascii() and '\\' not in name) or osp.exists(path):
        return path
    plain = name.replace('\\', '/')
    others = [osp.join(folder, unicodedata.normalize(form, plain)) for form in ('NFC', 'NFD')]
    return next(filter(osp.exists, others), path)


def parse_line(
    line: str, delimiter: str, num_counts: int, multi_class: bool
) -> tuple[str, tuple[int, ...], tuple[int, ...]]:
    """Split a line that is not empty into name, counts and labels; see :func:`read_list_file`.

    Raises:
        ValueError: the line has another format.
    """
    separator = None if delimiter == ' ' else delimiter
    limit = len(line) if multi_class else num_counts + 1
    name = line.strip()
    numbers: list[int] = []
    while len(numbers) < limit:
        head, *tail = name.rsplit(separator, 1)
        if not tail or not _is_integer(tail[0].strip()):
            break
        name = head.rstrip()
        numbers.insert(0, int(tail[0]))
    if not name:
        raise ValueError('there is no name before the numbers')
    if len(numbers) < num_counts:
        raise ValueError(
            f'expected a name and at least {num_counts} integers separated by {delimiter!r}, but '
            f'found {len(numbers)} integers at the end'
        )
    counts, labels = numbers[:num_counts], numbers[num_counts:]
    if counts and (counts[-1] < 1 or min(counts) < 0):
        raise ValueError(
            f'an offset must not be negative and a number of frames must be positive, got {counts}'
        )
    misread = not name.lower().endswith(_ENDINGS) and _NAME_AND_REST.match(name)
    if misread:
        found = line.strip()[misread.end(1) :].strip()
        kind = 'a list of integers' if multi_class else 'an integer label'
        raise ValueError(
            f'after the name {misread[1]!r}, {found!r} is not {kind}; fields are separated by '
            f'{delimiter!r}, and names of classes need `classes` of the data set'
        )
    return name, tuple(counts), tuple(labels)


def _is_integer(text: str) -> bool:
    return text.isascii() and text.removeprefix('-').isdigit()


def _check_labels(labels: tuple[int, ...], multi_class: bool, num_classes: int | None) -> None:
    if multi_class and not labels:
        raise ValueError('multi_class=True needs at least one label per line')
    lowest = 0 if multi_class else -1  # -1 is MMAction2's "no label"
    for label in labels:
        if label < lowest:
            raise ValueError(f'the label {label} is negative')
        if num_classes is not None and label >= num_classes:
            raise ValueError(
                f'the label {label} is not below num_classes={num_classes}; labels count from 0, '
                'so subtract 1 if yours count from 1'
            )
