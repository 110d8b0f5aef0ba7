"""Find the videos that cannot be read, before training does.

    python tools/check_videos.py FOLDER
    python tools/check_videos.py train_list.txt --data-root videos/

Opens every video and decodes its first, middle and last frame (--full: all frames), in several
processes: a video that makes the decoder crash or hang is reported like the others. Names what a
folder has beside the videos and what happens to it. Writes a clean list (the lines of the given
list, or the paths in the folder), a bad list (path, tab, reason), and a picture of durations,
frame sizes, frame rates and codecs, which it also prints as a table.

The default reader and minimum length are those of the pre-training configs. Fine-tuning and testing
accept shorter videos: --min-frames 1.

Exit code: 0 all videos are readable, 1 some are not, 2 the call is wrong (no such folder or list, a
bad line, no decoder), 130 interrupted by Ctrl-C; the names of the lists then end in .partial.
"""

import argparse
import json
import multiprocessing
import os
import os.path as osp
import re
import signal
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import NamedTuple

import _venv  # noqa: F401, first: finds the packages
import av
import numpy as np
from amd_mm.datasets import (
    BACKENDS,
    IMAGE_EXTENSIONS,
    VIDEO_EXTENSIONS,
    UnreadableVideoError,
    VideoReader,
    find_videos,
    open_video,
    read_list_file,
)
from amd_mm.datasets.video_reader import printable, reader_class
from amd_mm.visualization.plots import check_picture
from amd_mm.visualization.video_summary import VideoFacts, draw_summary, summarize
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


class Outcome(NamedTuple):
    """What was found out about a video.

    Attributes:
        reason: why it is unreadable, or None.
        facts: of a readable video.
        remarks: what the loader does with a readable video that is not plain.
    """

    reason: str | None
    facts: VideoFacts | None = None
    remarks: tuple[str, ...] = ()


def check_video(path: str, settings: CheckSettings) -> Outcome:
    """Decode some or all frames of a video."""
    try:
        with open_video(path, settings.backend) as reader:
            length = len(reader)
            if length < settings.min_frames:
                return Outcome(
                    f'it has {length} frames, fewer than min_frames={settings.min_frames}'
                )
            if settings.full:
                for start in range(0, length, 64):  # all at once may not fit into memory
                    frame = reader.read(range(start, min(start + 64, length)))[0]
            else:
                frame = reader.read([0, length // 2, length - 1])[0]
            return Outcome(None, *describe(reader, frame))
    except UnreadableVideoError as error:
        return Outcome(error.reason)


def describe(reader: VideoReader, frame: np.ndarray) -> tuple[VideoFacts, tuple[str, ...]]:
    """Facts and remarks about a video that is open; ``frame`` (H, W, 3) is any of its frames."""
    height, width = frame.shape[:2]
    with av.open(reader.path) as file:
        covers = [one.disposition & av.stream.Disposition.attached_pic for one in file.streams]
        stream = next((one for one in file.streams.video if not covers[one.index]), None)
        codec = stream.codec_context.name if stream else 'unknown'
        stored = stream and (stream.codec_context.width, stream.codec_context.height)
    remarks = []
    if any(covers):
        remarks.append('it has a cover picture, which is not read')
    if stored and stored != (width, height):
        remarks.append('it is rotated, as the file says')
    if reader.resized:
        remarks.append("its frames change their size: all are scaled to the first one's")
    steps = np.diff(reader.times) if reader.avg_fps > 0 else np.zeros(0)
    if steps.size and steps.max() > 1.5 * steps.min():
        remarks.append('its frame rate varies: clips take frames by number, not by time')
    seconds = reader.duration if reader.avg_fps > 0 else 0.0
    return VideoFacts(len(reader), seconds, (width, height), reader.avg_fps, codec), tuple(remarks)


def _work(connection: Connection, settings: CheckSettings) -> None:
    """A worker process: receive paths, send outcomes."""
    # Ctrl-C reaches all processes, and must not look like a crash of the decoder.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        while True:
            connection.send(tuple(check_video(connection.recv(), settings)))
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

    def result(self) -> Outcome:
        """The outcome. A process that crashed or took too long ends."""
        if not self.connection.poll():
            self.stop()
            return Outcome(f'decoding took longer than {self.timeout:g} s')
        try:
            return Outcome(*self.connection.recv())
        except (EOFError, ConnectionResetError):
            self.process.join()
            code = self.process.exitcode
            end = f'signal {-code}' if code < 0 else f'exit code {code}'
            return Outcome(f'the decoder crashed on it ({end})')

    def stop(self) -> None:
        self.process.kill()
        self.process.join()


def check_videos(
    paths: Sequence[str], settings: CheckSettings, workers: int = 0
) -> Iterator[tuple[int, Outcome]]:
    """Check many videos at once, in processes that may crash or hang.

    Args:
        paths: the files.
        settings: how each is checked.
        workers: number of processes; 0 for one per CPU core.

    Yields:
        The position in ``paths`` and the outcome, in the order in which the checks end.
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
                outcome = worker.result()
                if worker.process.is_alive():
                    idle.append(worker)
                yield worker.index, outcome
    finally:
        for worker in idle + busy:
            worker.stop()


class Item(NamedTuple):
    """A video, and its line in the lists that are written."""

    path: str
    line: str


class Files(NamedTuple):
    """The files to write."""

    clean: str
    bad: str
    picture: str
    json: str | None


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
    add('--picture', help='the picture to write (default: NAME_summary.png)')
    add('--json', help='also write everything as JSON')
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


def find_others(folder: str) -> dict[str, list[str]]:
    """What a folder has that is not read as a video: what it is -> relative paths."""
    others: dict[str, list[str]] = {}
    searched = set(map(str, Path(folder).resolve().parents))  # as find_videos does

    def add(kind: str, place: str, name: str = '') -> None:
        others.setdefault(kind, []).append(osp.relpath(osp.join(place, name), folder))

    def refused(error: OSError) -> None:
        add(f'folders that cannot be read ({error.strerror}): skipped', error.filename)

    for place, folders, files in os.walk(folder, onerror=refused, followlinks=True):
        if osp.realpath(place) in searched:
            add('links to folders that are searched already: skipped', place)
            folders.clear()
            continue
        searched.add(osp.realpath(place))
        for name in files + folders:
            ending = osp.splitext(name)[1].lower()
            if name[0] == '.':
                add('hidden files and folders: skipped', place, name)
            elif name in folders:
                if ending in VIDEO_EXTENSIONS:
                    add('folders that are named like a video: searched as folders', place, name)
            elif ending in IMAGE_EXTENSIONS:
                add('images: skipped (amd_mm.ImageDataset reads them)', place, name)
            elif ending not in VIDEO_EXTENSIONS:
                add(f'files that end in {ending or "nothing"}: skipped', place, name)
        folders[:] = sorted(name for name in folders if name[0] != '.')
    return others


def check_output(path: str) -> None:
    """Raise an OSError now if the file cannot be written in the end."""
    folder = Path(path).parent
    folder.mkdir(parents=True, exist_ok=True)
    if osp.isdir(path) or not os.access(folder, os.W_OK):
        raise OSError(f'cannot write {path}: give other files with --out, --bad and --picture')


def check(items: list[Item], settings: CheckSettings, workers: int) -> dict[int, Outcome]:
    """Outcomes by position in ``items``; Ctrl-C ends it early."""
    found: dict[int, Outcome] = {}
    bar = ProgressBar(len(items), file=sys.stderr)
    try:
        for index, outcome in check_videos([item.path for item in items], settings, workers):
            if items[index].line != printable(items[index].line):
                outcome = Outcome('its name is not utf-8, which no list can hold; rename it')
            found[index] = outcome
            bar.update()
    except KeyboardInterrupt:
        pass
    print(file=sys.stderr)
    return found


def print_kinds(title: str, kinds: dict[str, list[str]]) -> None:
    """Print how many files there are of each kind, and the first one."""
    if kinds:
        print(f'\n{title}')
    for kind, paths in sorted(kinds.items(), key=lambda one: -len(one[1])):
        more = ', ...' if len(paths) > 1 else ''
        print(printable(f'{len(paths):>8}  {kind}: {paths[0]}{more}'))


def report(
    items: list[Item], found: dict[int, Outcome], others: dict[str, list[str]], files: Files
) -> int:
    """Write the lists and the picture, print a summary, and return the exit code."""
    interrupted = len(found) < len(items)
    if interrupted:  # not to be mistaken for the whole list
        files = files._replace(clean=files.clean + '.partial', bad=files.bad + '.partial')
    found = dict(sorted(found.items()))
    clean = [items[index].line for index, outcome in found.items() if outcome.reason is None]
    bad = [f'{items[i].path}\t{one.reason}' for i, one in found.items() if one.reason is not None]
    for path, lines in ((files.clean, clean), (files.bad, bad)):
        text = ''.join(line + '\n' for line in lines)
        # Names in the bad list keep their bytes, UTF-8 or not.
        Path(path).write_text(text, encoding='utf-8', errors='surrogateescape')
    for line in bad[:20]:
        print('bad: ' + printable(line).replace('\t', ': '))
    if len(bad) > 20:
        print(f'... and {len(bad) - 20} more in {files.bad}')
    unreadable: dict[str, list[str]] = {}
    remarks: dict[str, list[str]] = {}
    for index, outcome in found.items():
        if outcome.reason is not None:
            kind = re.sub(r'\d+', 'N', outcome.reason)
            unreadable.setdefault(kind, []).append(items[index].path)
        for remark in outcome.remarks:
            remarks.setdefault(remark, []).append(items[index].path)
    print_kinds('unreadable: replaced in training, an error in testing', unreadable)
    print_kinds('readable, but not plain:', remarks)
    print_kinds('not read as videos:', others)
    facts = [outcome.facts for outcome in found.values() if outcome.facts is not None]
    if facts:
        print(f'\n{summarize(facts)}\n')
        draw_summary(facts, files.picture, f'{len(clean)} readable of {len(found)} videos')
    if files.json:
        write_json(items, found, others, files.json)
    if interrupted:
        print(f'interrupted: {len(items) - len(found)} of {len(items)} videos were not checked')
    print(f'{len(clean)} of {len(found)} videos are readable, {len(bad)} are not')
    print(f'clean list: {files.clean}\nbad list:   {files.bad}')
    if facts:
        print(f'picture:    {files.picture}')
    return 130 if interrupted else int(bool(bad))


def write_json(
    items: list[Item], found: dict[int, Outcome], others: dict[str, list[str]], path: str
) -> None:
    """Write all outcomes: ``videos``, a list with an entry for each, and ``others``, by kind."""
    videos = [
        dict(
            path=printable(items[index].path),
            reason=outcome.reason,
            remarks=outcome.remarks,
            **(outcome.facts._asdict() if outcome.facts else {}),
        )
        for index, outcome in found.items()
    ]
    others = {kind: [printable(name) for name in names] for kind, names in others.items()}
    Path(path).write_text(json.dumps(dict(videos=videos, others=others), indent=1))


def main(argv: list[str] | None = None) -> int:
    """Check, write both lists and the picture, and return the exit code."""
    args = parse_args(argv)
    settings = CheckSettings(args.backend, args.min_frames, args.full, args.timeout)
    stem = Path(osp.abspath(args.source)).stem
    files = Files(
        args.out or f'{stem}_clean.txt',
        args.bad or f'{stem}_bad.txt',
        args.picture or f'{stem}_summary.png',
        args.json,
    )
    written = [path for path in files if path]
    try:
        if len({osp.abspath(path) for path in (args.source, *written)}) <= len(written):
            raise ValueError('--out, --bad, --picture and --json must be files of their own')
        others = find_others(args.source) if osp.isdir(args.source) else {}
        try:
            items = collect(args)
        except FileNotFoundError:
            print_kinds('not read as videos:', others)
            raise
        for path in written:
            check_output(path)
        check_picture(files.picture)
        found = check(items, settings, args.workers)
        return report(items, found, others, files)
    except (OSError, ValueError, ImportError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2


if __name__ == '__main__':
    sys.exit(main())
