"""Find the videos that cannot be read, before training does.

    python tools/check_videos.py FOLDER
    python tools/check_videos.py train_list.txt --data-root videos/

Opens every video and decodes its first, middle and last frame (--full: all frames), in several
processes, each of which may crash or hang without harm to the others. Writes a clean list (the
lines of the given list, or the paths in the folder) and a bad list (path, tab, reason).

Reader and minimum length are those of the pre-training configs; fine-tuning and testing take
shorter videos: --min-frames 1.

Exit code: 0 all videos are readable, 1 some are not, 2 the call is wrong (no such folder or list, a
bad line, no decoder), 130 interrupted by Ctrl-C: the lists end in .partial then.
"""

import argparse
import multiprocessing
import os
import os.path as osp
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import NamedTuple

from amd_mm.datasets import (
    BACKENDS,
    VIDEO_EXTENSIONS,
    UnreadableVideoError,
    find_videos,
    open_video,
    read_list_file,
)
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
                for start in range(0, length, 64):  # an hour of video exceeds the memory
                    reader.read(range(start, min(start + 64, length)))
            else:
                reader.read([0, length // 2, length - 1])
    except UnreadableVideoError as error:
        return error.reason
    return None


def _work(connection: Connection, settings: CheckSettings) -> None:
    """A worker process: receive paths, send reasons."""
    # Ctrl-C reaches all processes; a worker that it ended would look like a crashed decoder.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        while True:
            connection.send(check_video(connection.recv(), settings))
    except (EOFError, BrokenPipeError):
        pass


class _Worker:
    """A worker process and the video that it checks."""

    def __init__(self, settings: CheckSettings) -> None:
        methods = multiprocessing.get_all_start_methods()
        context = multiprocessing.get_context('fork' if 'fork' in methods else None)
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, settings), daemon=True)
        self.process.start()
        theirs.close()  # so that its death ends the pipe
        self.index: int | None = None
        self.deadline = 0.0

    def give(self, index: int, path: str, timeout: float) -> bool:
        """Send a video; False if the process died while idle."""
        try:
            self.connection.send(path)
        except (BrokenPipeError, ConnectionResetError):
            return False
        self.index, self.deadline = index, time.monotonic() + timeout
        return True

    def receive(self) -> tuple[str | None, bool]:
        """The reason, and whether the process is alive."""
        try:
            return self.connection.recv(), True
        except (EOFError, ConnectionResetError):
            self.process.join()
            code = self.process.exitcode
            end = f'signal {-code}' if code < 0 else f'exit code {code}'
            return f'the decoder crashed on it ({end})', False

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()


def check_videos(
    paths: Sequence[str], settings: CheckSettings, workers: int = 0
) -> Iterator[tuple[int, str | None]]:
    """Check many videos at once, in processes that may crash or hang.

    Args:
        paths: the files.
        settings: how each is checked.
        workers: number of processes; 0 is one per CPU core that this process may use.

    Yields:
        The position in ``paths`` and the reason why it is unreadable, or None; in the order in
        which the checks end.
    """
    if workers < 0 or settings.timeout <= 0:
        raise ValueError(
            'workers must not be negative and the timeout must be positive, got '
            f'{workers}, {settings.timeout}'
        )
    # A wrong name or a missing package would count as bad videos otherwise.
    reader_class(settings.backend).library()
    count = min(workers or len(os.sched_getaffinity(0)), max(len(paths), 1))
    waiting = list(range(len(paths)))[::-1]
    pool: list[_Worker] = []
    try:
        while waiting or any(worker.index is not None for worker in pool):
            while waiting and len(pool) < count:
                pool.append(_Worker(settings))
            for worker in [w for w in pool if w.index is None][: len(waiting)]:
                if worker.give(waiting[-1], paths[waiting[-1]], settings.timeout):
                    waiting.pop()
                else:
                    worker.stop()
                    pool.remove(worker)
            for worker, reason, alive in _next_results(pool, settings):
                yield worker.index, reason
                worker.index = None
                if not alive:
                    worker.stop()
                    pool.remove(worker)
    finally:
        for worker in pool:
            worker.stop()


def _next_results(
    pool: list[_Worker], settings: CheckSettings
) -> list[tuple[_Worker, str | None, bool]]:
    """Wait for a result or for the first deadline: worker, reason, whether it is alive."""
    busy = {worker.connection: worker for worker in pool if worker.index is not None}
    if not busy:
        return []
    first = min(worker.deadline for worker in busy.values())
    ready = wait(list(busy), timeout=max(0.0, first - time.monotonic()))
    results = [(busy[connection], *busy[connection].receive()) for connection in ready]
    for connection, worker in busy.items():
        if connection not in ready and time.monotonic() >= worker.deadline:
            results.append((worker, f'decoding took longer than {settings.timeout:g} s', False))
    return results


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
    items = [Item(osp.join(args.data_root, entry.name), entry.line) for entry in entries]
    if not any(
        item.path.lower().endswith(VIDEO_EXTENSIONS) or osp.isfile(item.path) for item in items
    ):
        raise ValueError(
            f'{args.source} lists no videos: no name ends like a video (.mp4 for instance), and '
            f'{items[0].path} is not a file. Lists of frame folders are not checked here; for '
            'other lists correct --data-root or --delimiter'
        )
    return items


def check(items: list[Item], settings: CheckSettings, workers: int) -> dict[int, str | None]:
    """Reasons by position in ``items``, None for readable ones; Ctrl-C ends it early."""
    found: dict[int, str | None] = {
        index: 'its name is not utf-8, so no list can hold it; rename it'
        for index, item in enumerate(items)
        if item.line != printable(item.line)
    }
    rest = [index for index in range(len(items)) if index not in found]
    bar = ProgressBar(len(rest), file=sys.stderr)
    try:
        for number, reason in check_videos([items[i].path for i in rest], settings, workers):
            found[rest[number]] = reason
            bar.update()
    except KeyboardInterrupt:
        pass
    print(file=sys.stderr)
    return found


def check_output(path: str) -> None:
    """Raise an OSError now if the file cannot be written in the end."""
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
    """Write a text file; names that are not UTF-8 keep their bytes."""
    text = ''.join(line + '\n' for line in lines)
    Path(path).write_text(text, encoding='utf-8', errors='surrogateescape')


def report(items: list[Item], found: dict[int, str | None], clean_path: str, bad_path: str) -> int:
    """Write both lists, print a summary, and return the exit code."""
    interrupted = len(found) < len(items)
    if interrupted:  # nobody is to train on it by mistake
        clean_path, bad_path = clean_path + '.partial', bad_path + '.partial'
    clean = [items[index].line for index in sorted(found) if found[index] is None]
    bad = [f'{items[i].path}\t{found[i]}' for i in sorted(found) if found[i] is not None]
    write_lines(clean_path, clean)
    write_lines(bad_path, bad)
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
