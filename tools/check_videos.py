"""Find the videos that cannot be read, before training does.

    python tools/check_videos.py FOLDER
    python tools/check_videos.py train_list.txt --data-root videos/

Opens every video and decodes its first, middle and last frame (--full: all
frames), in several processes, each of which may crash or hang without harm
to the others. Writes the clean list (lines of the given list as they were,
or for a folder the paths in it) and the bad list (path, tab, reason).

Exit code: 0 all videos are readable, 1 some are not, 2 the call is wrong
(no such folder or list, a bad line, no decoder).
"""

import argparse
import os.path as osp
import sys
from pathlib import Path
from typing import List, NamedTuple, Optional

from amd_mm.datasets import find_videos, read_list_file
from amd_mm.datasets.checking import CheckSettings, check_videos
from amd_mm.datasets.video_reader import BACKENDS
from mmengine.utils import ProgressBar


class Item(NamedTuple):
    """A video: where it is, and its line in the lists that are written."""

    path: str
    line: str


def parse_args(argv: Optional[List[str]] = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('source', help='a folder of videos, or a list file')
    parser.add_argument(
        '--data-root',
        default='',
        help='folder that the names in the list start from',
    )
    parser.add_argument(
        '--delimiter',
        default=' ',
        help='between name and label in the list; a space (default) stands '
        'for any white space',
    )
    parser.add_argument(
        '--multi-class',
        action='store_true',
        help='lines of the list have one or more labels',
    )
    parser.add_argument(
        '--out', help='the clean list to write (default: NAME_clean.txt)'
    )
    parser.add_argument(
        '--bad', help='the bad list to write (default: NAME_bad.txt)'
    )
    parser.add_argument(
        '--workers',
        type=int,
        default=0,
        help='processes (default: one per core)',
    )
    parser.add_argument('--backend', choices=list(BACKENDS), default='decord')
    parser.add_argument(
        '--min-frames',
        type=int,
        default=1,
        help='a video with fewer frames is bad (default: 1)',
    )
    parser.add_argument(
        '--timeout',
        type=float,
        default=60.0,
        help='seconds that one video may take (default: 60)',
    )
    parser.add_argument(
        '--full', action='store_true', help='decode all frames'
    )
    return parser.parse_args(argv)


def collect(args: argparse.Namespace) -> List[Item]:
    """The videos to check, from a folder or from a list."""
    if osp.isdir(args.source):
        return [
            Item(osp.join(args.source, name), name)
            for name in find_videos(args.source)
        ]
    entries = read_list_file(
        args.source, delimiter=args.delimiter, multi_class=args.multi_class
    )
    return [
        Item(osp.join(args.data_root, entry.name), entry.line)
        for entry in entries
    ]


def check(
    items: List[Item], settings: CheckSettings, workers: int
) -> List[Optional[str]]:
    """The reason for each item, None for the readable ones."""
    reasons: List[Optional[str]] = [None] * len(items)
    paths = [item.path for item in items]
    bar = ProgressBar(len(items), file=sys.stderr)
    for index, reason in check_videos(paths, settings, workers):
        reasons[index] = reason
        bar.update()
    print(file=sys.stderr)
    return reasons


def write_lines(path: str, lines: List[str]) -> None:
    """Write a text file, one line each."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(
        ''.join(line + '\n' for line in lines), encoding='utf-8'
    )


def main(argv: Optional[List[str]] = None) -> int:
    """Check, write both lists, and give the exit code."""
    args = parse_args(argv)
    settings = CheckSettings(
        args.backend, args.min_frames, args.full, args.timeout
    )
    stem = Path(osp.abspath(args.source)).stem
    clean_path = args.out or f'{stem}_clean.txt'
    bad_path = args.bad or f'{stem}_bad.txt'
    if len({osp.abspath(p) for p in (args.source, clean_path, bad_path)}) < 3:
        print(
            'error: --out and --bad must be two files other than the list',
            file=sys.stderr,
        )
        return 2
    try:
        items = collect(args)
        reasons = check(items, settings, args.workers)
    except (OSError, ValueError, ImportError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    clean = [i.line for i, reason in zip(items, reasons) if reason is None]
    bad = [(i.path, reason) for i, reason in zip(items, reasons) if reason]
    write_lines(clean_path, clean)
    write_lines(bad_path, [f'{path}\t{reason}' for path, reason in bad])
    for path, reason in bad[:20]:
        print(f'bad: {path}: {reason}')
    if len(bad) > 20:
        print(f'... and {len(bad) - 20} more')
    print(
        f'{len(clean)} of {len(items)} videos are readable, {len(bad)} are '
        f'not.\nclean list: {clean_path}\nbad list:   {bad_path}'
    )
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main())
