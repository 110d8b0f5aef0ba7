"""Find the videos that cannot be read, before training does.

    python tools/check_videos.py FOLDER
    python tools/check_videos.py train_list.txt --data-root videos/

Opens every video and decodes its first, middle and last frame (--full: all frames), in several
processes: a video that makes the decoder crash or hang is reported like the others. Writes a clean
list (the lines of the given list, or the paths in the folder) and a bad list (path, tab, reason).

The default reader and minimum length are those of the pre-training configs. Fine-tuning and testing
accept shorter videos: --min-frames 1.

Exit code: 0 all videos are readable, 1 some are not, 2 the call is wrong (no such folder or list, a
bad line, no decoder), 130 interrupted by Ctrl-C; the names of the lists then end in .partial.
"""

import argparse
import multiprocessing
import os
import os.path as osp
import signal
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import NamedTuple

import _venv  # noqa: F401, first: finds the packages
from amd_mm.datasets import BACKENDS, UnreadableVideoError, find_videos, open_video, read_list_file
from amd_mm.datasets.video_reader import printable, reader_class
from mmengine.utils import ProgressBar

# As in configs/_base_/datasets/k400.py; a test compares them.
BACKEND = 'pyav'
MIN_FRAMES = 16


class CheckSettings(NamedTuple):
    """How each video is checked; ``timeout`` is in seconds per video."""

    backend: str = BACKEND
    min_frames: int = 1
    full: bool = False
    timeout: float = 60.0


def check_video(path: str, settings: CheckSettings) -> str | None:
    """Decode some or all frames of a video; the reason if it is unreadable, else None."""
    try:
        with open_video(path, settings.backend) as reader:
            length = len(reader)
            if length < settings.min_frames:
                return f'it has {length} frames, fewer than min_frames={settings.min_frames}'
            if settings.full:
                for start in range(0, length, 64):  # all at once may not fit into memory
                    reader.read(range(start, min(start + 64, length)))
            else:
                reader.read([0, length // 2, length - 1])
    except UnreadableVideoError as error:
        return error.reason
    return None


def _work(connection: Connection, settings: CheckSettings) -> None:
    """A worker process: receive paths, send reasons."""
    # Ctrl-C reaches all processes, and must not look like a crash of the decoder.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        while True:
            connection.send(check_video(connection.recv(), settings))
    except (EOFError, BrokenPipeError):
        pass


class _Worker:
    """A process that checks one video at a time."""

    def __init__(self, settings: CheckSettings) -> None:
        context = multiprocessing.get_context('fork')
        self.timeout = settings.timeout
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, settings), daemon=True)
        self.process.start()
        theirs.close()  # the pipe ends when the process dies

    def start(self, index: int, path: str) -> None:
        self.index = index
        self.deadline = time.monotonic() + self.timeout
        self.connection.send(path)

    def result(self) -> str | None:
        """The reason. A process that crashed or took too long ends."""
        if not self.connection.poll():
            self.stop()
            return f'decoding took longer than {self.timeout:g} s'
        try:
            return self.connection.recv()
        except (EOFError, ConnectionResetError):
            self.process.join()
            code = self.process.exitcode
            end = f'signal {-code}' if code < 0 else f'exit code {code}'
            return f'the decoder crashed on it ({end})'

    def stop(self) -> None:
        self.process.kill()
        self.process.join()


def check_videos(
    paths: Sequence[str], settings: CheckSettings, workers: int = 0
) -> Iterator[tuple[int, str | None]]:
    """Check many videos at once, in processes that may crash or hang.

    Args:
        paths: the files.
        settings: how each is checked.
        workers: number of processes; 0 for one per CPU core.

    Yields:
        The position in ``paths`` and the reason why it is unreadable, or None; in the order in
        which the checks end.
    """
    if workers < 0 or settings.timeout <= 0:
        raise ValueError(
            'workers must not be negative and the timeout must be positive, got '
            f'{workers}, {settings.timeout}'
        )
    # A wrong name or a missing package is not the fault of the videos.
    reader_class(settings.backend).library()
    count = workers or os.cpu_count() or 1
    waiting = deque(enumerate(paths))
    idle: list[_Worker] = []
    busy: list[_Worker] = []
    try:
        while waiting or busy:
            while waiting and len(busy) < count:
                worker = idle.pop() if idle else _Worker(settings)
                worker.start(*waiting.popleft())
                busy.append(worker)
            first = min(worker.deadline for worker in busy)
            ready = wait([w.connection for w in busy], max(0.0, first - time.monotonic()))
            now = time.monotonic()
            for worker in [w for w in busy if w.connection in ready or w.deadline <= now]:
                busy.remove(worker)
                reason = worker.result()
                if worker.process.is_alive():
                    idle.append(worker)
                yield worker.index, reason
    finally:
        for worker in idle + busy:
            worker.stop()


class Item(NamedTuple):
    """A video, and its line in the lists that are written."""

    path: str
    line: str


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('source', help='a folder of videos, or a list file')
    add('--data-root', default='', help='folder that the names in the list start from')
    add(
        '--delimiter',
        default=' ',
        help='between name and label in the list; a space (default) stands for any white space',
    )
    add('--multi-class', action='store_true', help='lines of the list have one or more labels')
    add('--out', help='the clean list to write (default: NAME_clean.txt)')
    add('--bad', help='the bad list to write (default: NAME_bad.txt)')
    add('--workers', type=int, default=0, help='processes (default: one per core)')
    add(
        '--backend',
        choices=list(BACKENDS),
        default=BACKEND,
        help='reader, as in amd_mm.VideoInit (default: %(default)s)',
    )
    add(
        '--min-frames',
        type=int,
        default=MIN_FRAMES,
        help='a video with fewer frames is bad (default: %(default)s)',
    )
    add('--timeout', type=float, default=60.0, help='seconds per video (default: 60)')
    add('--full', action='store_true', help='decode all frames')
    return parser.parse_args(argv)


def collect(args: argparse.Namespace) -> list[Item]:
    """The videos to check, from a folder or from a list."""
    if osp.isdir(args.source):
        return [Item(osp.join(args.source, name), name) for name in find_videos(args.source)]
    entries = read_list_file(args.source, delimiter=args.delimiter, multi_class=args.multi_class)
    return [Item(osp.join(args.data_root, entry.name), entry.line) for entry in entries]


def check_output(path: str) -> None:
    """Raise an OSError now if the file cannot be written in the end."""
    folder = Path(path).parent
    folder.mkdir(parents=True, exist_ok=True)
    if osp.isdir(path) or not os.access(folder, os.W_OK):
        raise OSError(f'cannot write {path}: give other files with --out and --bad')


def check(items: list[Item], settings: CheckSettings, workers: int) -> dict[int, str | None]:
    """Reasons by position in ``items``, None for readable ones; Ctrl-C ends it early."""
    found: dict[int, str | None] = {}
    bar = ProgressBar(len(items), file=sys.stderr)
    try:
        for index, reason in check_videos([item.path for item in items], settings, workers):
            if items[index].line != printable(items[index].line):
                reason = 'its name is not utf-8, which no list can hold; rename it'
            found[index] = reason
            bar.update()
    except KeyboardInterrupt:
        pass
    print(file=sys.stderr)
    return found


def report(items: list[Item], found: dict[int, str | None], clean_path: str, bad_path: str) -> int:
    """Write both lists, print a summary, and return the exit code."""
    interrupted = len(found) < len(items)
    if interrupted:  # not to be mistaken for the whole list
        clean_path, bad_path = clean_path + '.partial', bad_path + '.partial'
    clean = [items[index].line for index in sorted(found) if found[index] is None]
    bad = [f'{items[i].path}\t{found[i]}' for i in sorted(found) if found[i] is not None]
    for path, lines in ((clean_path, clean), (bad_path, bad)):
        text = ''.join(line + '\n' for line in lines)
        # Names in the bad list keep their bytes, UTF-8 or not.
        Path(path).write_text(text, encoding='utf-8', errors='surrogateescape')
    for line in bad[:20]:
        print('bad: ' + printable(line).replace('\t', ': '))
    if len(bad) > 20:
        print(f'... and {len(bad) - 20} more')
    if interrupted:
        print(f'interrupted: {len(items) - len(found)} of {len(items)} videos were not checked')
    print(f'{len(clean)} of {len(found)} videos are readable, {len(bad)} are not')
    print(f'clean list: {clean_path}\nbad list:   {bad_path}')
    return 130 if interrupted else int(bool(bad))


def main(argv: list[str] | None = None) -> int:
    """Check, write both lists, and return the exit code."""
    args = parse_args(argv)
    settings = CheckSettings(args.backend, args.min_frames, args.full, args.timeout)
    stem = Path(osp.abspath(args.source)).stem
    clean_path = args.out or f'{stem}_clean.txt'
    bad_path = args.bad or f'{stem}_bad.txt'
    try:
        if len({osp.abspath(path) for path in (args.source, clean_path, bad_path)}) < 3:
            raise ValueError('--out and --bad must be two files other than the list')
        items = collect(args)
        check_output(clean_path)
        check_output(bad_path)
        found = check(items, settings, args.workers)
        return report(items, found, clean_path, bad_path)
    except (OSError, ValueError, ImportError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2


if __name__ == '__main__':
    sys.exit(main())
