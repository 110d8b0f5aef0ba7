"""List files: one sample per line, MMAction2's format, read with care.

A line of a video list is ``name label``, of a raw-frame list
``folder total_frames label`` (or ``folder offset total_frames label``).
Labels may be left out, in all lines or in none. Numbers are taken from the
end of the line, so names may contain spaces (and the delimiter). Empty lines
are skipped. There are no comments: HMDB51 has names that begin with ``#``.
"""

from pathlib import PurePath
from typing import NamedTuple

from mmengine.fileio import exists, list_from_file

from .video_reader import VIDEO_EXTENSIONS


class ListEntry(NamedTuple):
    """One line of a list file.

    Attributes:
        name (str): The video, or the folder of frames.
        counts (tuple[int, ...]): For raw frames ``(total_frames, )`` or
            ``(offset, total_frames)``; empty for videos.
        labels (tuple[int, ...]): Empty when the list has none.
        line_number (int): From 1.
        line (str): The line as it stands in the file, without the ending.
    """

    name: str
    counts: tuple[int, ...]
    labels: tuple[int, ...]
    line_number: int
    line: str


class ListFileError(ValueError):
    """A list file that does not hold what it should.

    Args:
        path (str): The list file.
        problem (str): What is wrong and what to do.
        entry_line (str, optional): The line, shown in the message.
        line_number (int, optional): From 1.
    """

    def __init__(
        self, path: str, problem: str, entry_line: str | None = None, line_number: int | None = None
    ) -> None:
        place = path if line_number is None else f'{path}, line {line_number}'
        shown = '' if entry_line is None else f'\n    {entry_line}'
        super().__init__(f'{place}: {problem}{shown}')


def read_list_file(
    path: str,
    delimiter: str = ' ',
    num_counts: int = 0,
    multi_class: bool = False,
    num_classes: int | None = None,
) -> list[ListEntry]:
    """Read and check a list file.

    Args:
        path (str): The list file (utf-8).
        delimiter (str): What stands between the fields. A space stands for
            any white space. Defaults to ``' '``.
        num_counts (int): How many integers stand between name and labels: 0
            for videos, 1 (total frames) or 2 (offset, total frames) for raw
            frames. Defaults to 0.
        multi_class (bool): Whether a line may have several labels; each line
            then needs one. Defaults to False.
        num_classes (int, optional): Labels must be smaller. Defaults to
            None, which does not look.

    Returns:
        list[ListEntry]: In the file's order, at least one.

    Raises:
        ListFileError: The file is missing, empty or not in utf-8, or a line
            is wrong; the message names file and line and shows the line.
        ValueError: The delimiter is empty.
    """
    if not delimiter:
        raise ValueError("delimiter is empty; give ' ' or ',' for instance")
    if not path:
        raise ListFileError(
            '(no list file)',
            'ann_file is not given. Give a text file with '
            'one video per line, or use VideoFolderDataset, which needs none',
        )
    if not exists(path):
        raise ListFileError(
            path,
            'no such list file. Give ann_file (relative to data_root) '
            'a text file with one sample per line, for example '
            "'some folder/clip.mp4 3', or use VideoFolderDataset on a folder "
            'of videos, which needs none',
        )
    entries = []
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        try:
            entry = parse_line(line, delimiter, num_counts, multi_class)
            _check_labels(entry[2], multi_class, num_classes)
        except ValueError as error:
            raise ListFileError(path, str(error), line, number) from None
        entries.append(ListEntry(*entry, number, line))
    if not entries:
        raise ListFileError(
            path,
            'the list file has no entries. Write one sample per line, for '
            "example 'some folder/clip.mp4 3'",
        )
    _check_all_or_none_labelled(path, entries)
    return entries


def _lines(path: str) -> list[str]:
    try:
        # -sig: editors on Windows put a byte order mark before line 1.
        return list_from_file(path, encoding='utf-8-sig')
    except UnicodeDecodeError as error:
        before = error.object[: error.start].count(b'\n')
        raise ListFileError(
            path,
            f'the byte 0x{error.object[error.start]:02x} is not utf-8. '
            'Save the list as utf-8, and rename files whose names are not',
            line_number=before + 1,
        ) from None


def parse_line(
    line: str, delimiter: str, num_counts: int, multi_class: bool
) -> tuple[str, tuple[int, ...], tuple[int, ...]]:
    """Take a line apart, numbers from the end.

    Args:
        line (str): Not empty.
        delimiter (str): Between the fields; a space is any white space.
        num_counts (int): Integers between name and labels.
        multi_class (bool): Whether several labels may follow.

    Returns:
        tuple: name, counts, labels.

    Raises:
        ValueError: The line does not fit; the message says how.
    """
    separator = None if delimiter == ' ' else delimiter
    most = None if multi_class else num_counts + 1
    name = line.strip()
    numbers: list[int] = []
    while most is None or len(numbers) < most:
        parts = name.rsplit(separator, 1)
        if len(parts) < 2 or not _is_integer(parts[1]):
            break
        name, number = parts[0].rstrip(), int(parts[1])
        numbers.insert(0, number)
    if not name:
        raise ValueError('there is no name before the numbers')
    if len(numbers) < num_counts:
        raise ValueError(
            f'expected a name and {num_counts} or more integers, separated '
            f'by {delimiter!r}, but found {len(numbers)} integers at the end'
        )
    counts, labels = numbers[:num_counts], numbers[num_counts:]
    if num_counts and (counts[-1] < 1 or min(counts) < 0):
        raise ValueError(
            f'an offset must not be negative and a number of frames must be positive, got {counts}'
        )
    if not num_counts and not labels:
        _reject_misread_label(name, separator)
    return name, tuple(counts), tuple(labels)


def _is_integer(text: str) -> bool:
    text = text.strip()
    digits = text[1:] if text[:1] == '-' else text
    return digits.isascii() and digits.isdigit()


def _reject_misread_label(name: str, separator: str | None) -> None:
    """Tell ``clip.mp4 x3`` (a bad label) from ``my clip.mp4`` (a name)."""
    parts = name.rsplit(separator, 1)
    if len(parts) < 2:
        return
    head, tail = (PurePath(part.strip()).suffix.lower() for part in parts)
    if head in VIDEO_EXTENSIONS and tail not in VIDEO_EXTENSIONS:
        raise ValueError(f'the label {parts[1].strip()!r} is not an integer')


def _check_labels(labels: tuple[int, ...], multi_class: bool, num_classes: int | None) -> None:
    if multi_class and not labels:
        raise ValueError('multi_class=True needs one or more labels per line')
    lowest = 0 if multi_class else -1  # -1 is MMAction2's "no label"
    for label in labels:
        if label < lowest:
            raise ValueError(f'the label {label} is negative')
        if num_classes is not None and label >= num_classes:
            raise ValueError(f'the label {label} is not below num_classes={num_classes}')


def _check_all_or_none_labelled(path: str, entries: list[ListEntry]) -> None:
    labelled = [entry for entry in entries if entry.labels]
    if labelled and len(labelled) < len(entries):
        odd = next(entry for entry in entries if not entry.labels)
        raise ListFileError(
            path,
            f'no label here, but {len(labelled)} other lines have one '
            f'(line {labelled[0].line_number} for instance). Label all lines '
            'or none; if a name ends in a number, use another delimiter',
            odd.line,
            odd.line_number,
        )
