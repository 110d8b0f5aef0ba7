"""Reading text files and searching folders: the same tolerance for all kinds of annotations."""

import logging
import os
import os.path as osp
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from mmengine.fileio import list_from_file
from mmengine.logging import print_log

from ..errors import VideoError
from .video_reader import printable

IMAGE_EXTENSIONS = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif', '.tiff', '.webp')
"""File name endings (lower case) of images."""

_Item = TypeVar('_Item')
_SECONDS_BETWEEN_LOGS = 10


def read_lines(path: str | os.PathLike) -> Iterator[tuple[int, str]]:
    """Read the lines of a UTF-8 file that are not blank, each with its number from 1.

    Blanks around a line, Windows' line ends and its byte order mark are removed.

    Raises:
        VideoError: the file is not UTF-8; the line is named.
    """
    try:
        lines = list_from_file(path, encoding='utf-8-sig')
    except UnicodeDecodeError as error:
        number = error.object[: error.start].count(b'\n') + 1
        raise VideoError(
            f'{path}, line {number}: the byte 0x{error.object[error.start]:02x} is not UTF-8. '
            'Save the file as utf-8, and rename files whose names are not'
        ) from None
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield number, line.strip()


def find_files(folder: str, extensions: Sequence[str], recursive: bool = True) -> list[str]:
    """Find files by their endings.

    Hidden files and folders are skipped (macOS writes ``._clip.mp4`` next to ``clip.mp4``).
    Links are followed, except to a folder above; each folder is searched once. A sub-folder that
    cannot be read (``lost+found``) is skipped with a warning.

    Args:
        folder: where to search.
        extensions: endings, in lower or upper case, with or without the dot.
        recursive: also search sub-folders.

    Returns:
        Sorted paths relative to ``folder``.

    Raises:
        OSError: the folder itself cannot be read.
    """
    endings = tuple('.' + name.lower().lstrip('.') for name in extensions)
    found: list[str] = []
    visited = set(map(str, Path(folder).resolve().parents))  # links back to them are loops

    def skip(error: OSError) -> None:
        if error.filename == folder:
            raise error
        print_log(
            f'skipped {printable(error.filename)}, which cannot be read: {error.strerror}',
            'current',
            logging.WARNING,
        )

    walk = os.walk(folder, onerror=skip, followlinks=True)
    for place, folders, files in log_progress(walk, f'folders searched in {printable(folder)}'):
        if osp.realpath(place) in visited:
            folders.clear()
            continue
        visited.add(osp.realpath(place))
        # Sorted, so that of two links to a folder the same one is used everywhere.
        folders[:] = sorted(name for name in folders if recursive and name[0] != '.')
        names = [name for name in files if name[0] != '.' and name.lower().endswith(endings)]
        below = osp.relpath(place, folder)
        found += names if below == '.' else [f'{below}{os.sep}{name}' for name in names]
    return sorted(found)


def class_folders(folder: str | os.PathLike) -> list[str]:
    """The names of the folders of classes directly below a folder, sorted.

    Hidden folders, and links that lead back to the folder or above it, are not classes.
    """
    above = Path(folder).resolve()
    return sorted(
        path.name
        for path in Path(folder).iterdir()
        if path.is_dir() and path.name[0] != '.' and not above.is_relative_to(path.resolve())
    )


def log_progress(items: Iterable[_Item], text: str) -> Iterator[_Item]:
    """Pass the items on; every few seconds, log how many there were, followed by a text."""
    last = time.monotonic()
    for count, item in enumerate(items, start=1):
        if time.monotonic() - last >= _SECONDS_BETWEEN_LOGS:
            print_log(f'{count} {text}', 'current')
            last = time.monotonic()
        yield item


def check_frame_names(folder: str, template: str, start_index: int) -> None:
    """Check that the frames in a folder begin where they are expected to.

    Args:
        folder: of images.
        template: their names, for ``str.format`` with a number; of optical flow with ``'x'`` and a
            number.
        start_index: number of the first frame. A wrong one shifts every clip.

    Raises:
        VideoError: the frames begin elsewhere or have other names; the message has the settings.
    """

    def exists(number: int) -> bool:
        # 'img_{:05}.jpg' takes a number, '{}_{:05}.jpg' an 'x' before it.
        before = ['x'] * (template.count('{') - 1)
        return osp.exists(osp.join(folder, template.format(*before, number)))

    if exists(start_index) and (start_index == 0 or not exists(start_index - 1)):
        return
    settings = f'filename_tmpl={template!r} and start_index={start_index}'
    for number in (0, 1):
        if exists(number):
            raise VideoError(
                f'the frames in {folder} begin with number {number}, not start_index='
                f'{start_index}: set start_index={number} for the dataset'
            )
    numbered = [re.fullmatch(r'(.*?)(\d+)(\.\w+)', name) for name in os.listdir(folder)]
    first = min(filter(None, numbered), key=lambda match: int(match[2]), default=None)
    if first is None:
        raise VideoError(f'{folder} has no frames, which {settings} ask for')
    width = f':0{len(first[2])}' if len(first[2]) > 1 else ''
    raise VideoError(
        f'{folder} has no frame as {settings} name it, but {first[0]}: set '
        f"filename_tmpl='{first[1]}{{{width}}}{first[3]}' and start_index={int(first[2])} for the "
        'dataset'
    )
