"""Finding the videos below a folder."""

import logging
import os
import os.path as osp
from collections.abc import Sequence

from mmengine.logging import print_log

from .video_reader import VIDEO_EXTENSIONS


def find_videos(
    folder: str, recursive: bool = True, extensions: Sequence[str] = VIDEO_EXTENSIONS
) -> list[str]:
    """Videos below a folder, by their names' endings.

    Hidden files and folders are left out (macOS puts ``._clip.mp4`` next to
    ``clip.mp4`` on foreign disks); links are followed, each folder once. A
    sub-folder that cannot be read (a disk's ``lost+found``) is left out with
    a warning.

    Args:
        folder (str): Where to look.
        recursive (bool): Whether to look in sub-folders. Defaults to True.
        extensions (Sequence[str]): Endings with or without the dot, in any
            case of letters.

    Returns:
        list[str]: Paths relative to the folder, sorted, at least one.

    Raises:
        FileNotFoundError: There is no such folder, or no video in it; the
            message names the folder and the endings looked for.
        OSError: The folder itself cannot be read.
    """
    if not folder:
        raise FileNotFoundError('no folder of videos is given: set data_root to it')
    if not osp.isdir(folder):
        raise FileNotFoundError(
            f'{folder} is not a folder: data_root has to name a folder of videos'
        )
    endings = _endings(extensions)
    found: list[str] = []
    seen = set()

    def unreadable(error: OSError) -> None:
        if error.filename == folder:
            raise error
        print_log(
            f'videos in {error.filename} are left out, as the folder cannot '
            f'be read: {error.strerror}',
            'current',
            logging.WARNING,
        )

    for place, folders, files in os.walk(folder, onerror=unreadable, followlinks=True):
        identity = osp.realpath(place)
        if identity in seen:  # a link back up
            folders.clear()
            continue
        seen.add(identity)
        # Sorted, so that which of two links to a folder counts is settled.
        folders[:] = sorted(name for name in folders if recursive and name[0] != '.')
        found += [
            osp.relpath(osp.join(place, name), folder)
            for name in files
            if name[0] != '.' and name.lower().endswith(endings)
        ]
    if not found:
        below = ' or below it' if recursive else ''
        raise FileNotFoundError(
            f'no videos in {folder}{below}. Looked for names that end in '
            f'{", ".join(endings)}; give other endings with `extensions`'
        )
    return sorted(found)


def _endings(extensions: Sequence[str]) -> tuple[str, ...]:
    if isinstance(extensions, str):
        extensions = (extensions,)
    if not extensions:
        raise ValueError('extensions is empty: no file could be a video')
    return tuple('.' + name.lower().lstrip('.') for name in extensions)
