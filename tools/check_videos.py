"""Find the videos that cannot be read, before training does.

    python tools/check_videos.py FOLDER
    python tools/check_videos.py train_list.txt --data-root videos/

Opens every video and decodes its first, middle and last frame (--full: all
frames), in several processes, each of which may crash or hang without harm
to the others. Writes the clean list (lines of the given list as they were,
or for a folder the paths in it) and the bad list (path, tab, reason).

Reader and shortest length are those of the pre-training configs. Fine-tuning
and testing take shorter videos: --min-frames 1.

Exit code: 0 all videos are readable, 1 some are not, 2 the call is wrong
(no such folder or list, a bad line, no decoder), 130 ended by Ctrl-C: what
was found by then is in the same two lists with the ending .partial.
"""

import argparse
import os.path as osp
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from amd_mm.datasets import VIDEO_EXTENSIONS, find_videos, read_list_file
from amd_mm.datasets.checking import CheckSettings, check_videos
from amd_mm.datasets.video_reader import BACKENDS
from mmengine.utils import ProgressBar

# As in configs/_base_/datasets/k400.py, by test.
BACKEND = 'pyav'
MIN_FRAMES = 16


class Item(NamedTuple):
    """A video: where it is, and its line in the lists that are written."""

    path: str
    line: str


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('source', help='a folder of videos, or a list file')
    parser.add_argument(
        '--data-root', default='', help='folder that the names in the list start from'
    )
    parser.add_argument(
        '--delimiter',
        default=' ',
        help='between name and label in the list; a space (default) stands for any white space',
    )
    parser.add_argument(
        '--multi-class', action='store_true', help='lines of the list have one or more labels'
    )
    parser.add_argument('--out', help='the clean list to write (default: NAME_clean.txt)')
    parser.add_argument('--bad', help='the bad list to write (default: NAME_bad.txt)')
    parser.add_argument('--workers', type=int, default=0, help='processes (default: one per core)')
    parser.add_argument(
        '--backend',
        choices=list(BACKENDS),
        default=BACKEND,
        help=f'reader, as of amd_mm.VideoInit (default: {BACKEND})',
    )
    parser.add_argument(
        '--min-frames',
        type=int,
        default=MIN_FRAMES,
        help=f'a video with fewer frames is bad (default: {MIN_FRAMES})',
    )
    parser.add_argument(
        '--timeout', type=float, default=60.0, help='seconds that one video may take (default: 60)'
    )
    parser.add_argument('--full', action='store_true', help='decode all frames')
    return parser.parse_args(argv)


def collect(args: argparse.Namespace) -> list[Item]:
    """The videos to check, from a folder or from a list."""
    if osp.isdir(args.source):
        return [Item(osp.join(args.source, name), name) for name in find_videos(args.source)]
    entries = read_list_file(args.source, delimiter=args.delimiter, multi_class=args.multi_class)
    items = [Item(osp.join(args.data_root, entry.name), entry.line) for entry in entries]
    if not any(
        item.path.lower().endswith(VIDEO_EXTENSIONS) or osp.isfile(item.path) for item in items
    ):
        raise ValueError(
            f'{args.source} lists no videos: its names do not end like videos '
            f'(.mp4 for instance) and {items[0].path} is no file. Lists of '
            'frame folders are not checked here; for other lists correct '
            '--data-root or --delimiter'
        )
    return items


def check(items: list[Item], settings: CheckSettings, workers: int) -> dict[int, str | None]:
    """Reasons by position in ``items``, None for the readable ones.

    Ctrl-C ends it early; what is not there then was not checked.
    """
    found: dict[int, str | None] = {
        index: 'its name is not utf-8, so no list can hold it; rename it'
        for index, item in enumerate(items)
        if item.line != printable(item.line)
    }
    rest = [index for index in range(len(items)) if index not in found]
    paths = [items[index].path for index in rest]
    bar = ProgressBar(len(rest), file=sys.stderr)
    try:
        for number, reason in check_videos(paths, settings, workers):
            found[rest[number]] = reason
            bar.update()
    except KeyboardInterrupt:
        pass
    print(file=sys.stderr)
    return found


def printable(text: str) -> str:
    """Text with a mark in place of bytes that are not utf-8."""
    return text.encode(errors='surrogateescape').decode(errors='replace')


def check_output(path: str) -> None:
    """Raise OSError for a file that could not be written in the end."""
    folder = Path(path).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if osp.exists(path):
            open(path, 'a').close()
        else:
            tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise OSError(
            f'cannot write {path}: {error.strerror}. Give other files with --out and --bad'
        ) from None


def write_lines(path: str, lines: list[str]) -> None:
    """Write a text file, one line each."""
    # Names that are not utf-8 keep their bytes.
    Path(path).write_text(
        ''.join(line + '\n' for line in lines), encoding='utf-8', errors='surrogateescape'
    )


def report(items: list[Item], found: dict[int, str | None], clean_path: str, bad_path: str) -> int:
    """Write both lists, say what is in them, and give the exit code."""
    interrupted = len(found) < len(items)
    if interrupted:  # nobody is to train on it by mistake
        clean_path, bad_path = clean_path + '.partial', bad_path + '.partial'
    clean, bad = [], []
    for index in sorted(found):
        reason = found[index]
        if reason is None:
            clean.append(items[index].line)
        else:
            bad.append((items[index].path, reason))
    write_lines(clean_path, clean)
    write_lines(bad_path, [f'{path}\t{reason}' for path, reason in bad])
    for path, reason in bad[:20]:
        print(f'bad: {printable(path)}: {reason}')
    if len(bad) > 20:
        print(f'... and {len(bad) - 20} more')
    if interrupted:
        print(f'interrupted: {len(items) - len(found)} of {len(items)} videos were not checked')
    print(
        f'{len(clean)} of {len(found)} videos are readable, {len(bad)} are '
        f'not.\nclean list: {clean_path}\nbad list:   {bad_path}'
    )
    return 130 if interrupted else int(bool(bad))


def main(argv: list[str] | None = None) -> int:
    """Check, write both lists, and give the exit code."""
    args = parse_args(argv)
    settings = CheckSettings(args.backend, args.min_frames, args.full, args.timeout)
    stem = Path(osp.abspath(args.source)).stem
    clean_path = args.out or f'{stem}_clean.txt'
    bad_path = args.bad or f'{stem}_bad.txt'
    if len({osp.abspath(p) for p in (args.source, clean_path, bad_path)}) < 3:
        print('error: --out and --bad must be two files other than the list', file=sys.stderr)
        return 2
    try:
        items = collect(args)
        check_output(clean_path)
        check_output(bad_path)
        found = check(items, settings, args.workers)
        return report(items, found, clean_path, bad_path)
    except (OSError, ValueError, ImportError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2


if __name__ == '__main__':
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # while it looked for the videos
        sys.exit(130)
