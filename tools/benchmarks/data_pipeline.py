"""Clips a second that one core decodes, crops and packs for pre-training.

    python tools/benchmarks/data_pipeline.py [--videos PATH ...]
        [--clips-per-second N]

The pipeline of `configs/_base_/datasets/k400.py` with each video backend,
against two other ways of making the same clips:

- `public`: one decode for four clips, frames cropped and resized by PIL, then
  normalised in float32 and stacked by the worker;
- `per clip`: the same with one decode for every clip.

All in one process on one core, in turns. What counts is the CPU time of the
process, all of its threads together: waiting for the disk is not in it, and
other processes disturb it less than they do the clock. First the clips are
compared: where they differ by more than the resize's rounding, nothing is
timed. Without --videos, files in H.264 are made with several sizes and
distances between keyframes.
"""

import argparse
import math
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import amd_mm  # noqa: F401, its import-time fixes serve what follows
import cv2
import torch
from amd_mm.datasets import (
    UnreadableVideoError,
    available_backends,
    flatten_views_collate,
    one_tensor_collate,
    open_video,
)
from common import (
    Machine,
    UnequalError,
    describe,
    middle_and_spread,
    positive,
    table,
    write_figures,
)
from data_files import Files, make_files, own_files
from data_jobs import Job, compare, hand_over, take_turns
from data_ways import LEVERS, PARTS, PER_CLIP, PUBLIC, VIEWS, Lean, PerClip, Public, SmallDecord

# -- all of it --------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """What is measured with what.

    Attributes:
        backends (List[str]): The first one is the one that is varied.
        views (List[int]): Clips a decode.
        sizes (List[tuple]): Width and height of the videos that are made.
        keyframes (List[int]): Frames from one keyframe to the next.
        frames (int): Of a video.
        videos (int): Of each kind, a batch.
        draws (int): Batches of each way that are compared.
        repeats (int): Timed runs.
        warmup (int): Runs before.
        handovers (tuple[int, int]): Batches of :func:`hand_over`, and the
            clips of one.
    """

    backends: list[str]
    views: list[int]
    sizes: list[tuple]
    keyframes: list[int]
    frames: int
    videos: int
    draws: int
    repeats: int
    warmup: int
    handovers: tuple


QUICK = dict(
    views=[1, 4],
    sizes=[(96, 72)],
    keyframes=[12],
    frames=80,
    videos=1,
    draws=1,
    repeats=1,
    warmup=1,
    handovers=(1, 8),
)


def make_all(plan: Plan, folder: Path) -> list[Files]:
    """Write the videos; the first kind is the one that others vary."""
    size, keys = plan.sizes[0], plan.keyframes
    middle = keys[len(keys) // 2]
    kinds = [(size, middle, '')]
    kinds += [(size, every, '') for every in keys if every != middle]
    kinds += [(size, 16, 'fastdecode')]
    kinds += [(other, middle, '') for other in plan.sizes[1:]]
    return [
        make_files(folder, kind[0], plan.frames, kind[1], plan.videos, kind[2]) for kind in kinds
    ]


def make_jobs(plan: Plan, kinds: Sequence[Files]) -> dict[str, dict[str, Job]]:
    """The jobs by table and row."""
    base, first = kinds[0], plan.backends[0]
    lean = {name: Job(Lean(name), base) for name in plan.backends}
    tables = dict(
        ways={
            **lean,
            PUBLIC: Job(Public(), base),
            PER_CLIP: Job(Public(1, VIEWS), base),
            f'{PER_CLIP}, {first}': Job(PerClip(first, VIEWS), base),
        },
        levers={
            first: lean[first],
            **{name: Job(Lean(first, change=name), base) for name in LEVERS},
        },
        views={
            f'{name}, {count}': lean[name] if count == VIEWS else Job(Lean(name, count), base)
            for name in plan.backends
            for count in plan.views
        },
        files={
            f'{files.name}, {name}': Job(way, files)
            for files in kinds
            for name, way in [*((name, Lean(name)) for name in plan.backends), (PUBLIC, Public())]
        },
    )
    if 'decord' in plan.backends:
        with open_video(base.paths[0], 'decord') as reader:
            height, width = reader.read([0])[0].shape[:2]
        tables['levers']['decord'] = lean['decord']
        tables['levers']['decord decodes small (other clips)'] = Job(
            SmallDecord((width, height)), base
        )
    return tables


def measure(plan: Plan, given: Files | None, folder: Path) -> dict:
    """Compare, then time everything.

    Args:
        plan (Plan): What.
        given (Files, optional): The user's videos; None to make some.
        folder (Path): Where to write videos.

    Returns:
        dict: ``equality`` and ``tables``, figures by row, and ``handover``.

    Raises:
        UnequalError: If the ways make different clips.
        UnreadableVideoError: If a video cannot be read.
    """
    small = make_files(folder, (96, 72), 80, 12, 1)
    kinds = [given] if given else make_all(plan, folder)
    equality = {
        f'small, {small.name}': compare(small, True, plan.backends, range(plan.draws)),
        kinds[0].name: compare(kinds[0], False, plan.backends, range(plan.draws)),
    }
    tables = make_jobs(plan, kinds)
    # A job that is in several tables is timed once.
    distinct = {id(job): job for rows in tables.values()
                for job in rows.values()}  # yapf: disable
    figures = take_turns(distinct, plan.repeats, plan.warmup)
    views = Lean(plan.backends[0]).clips(kinds[0].paths[0], 0)
    return dict(
        equality=equality,
        files={files.name: _facts(files) for files in kinds},
        tables={
            name: {row: figures[id(job)] for row, job in rows.items()}
            for name, rows in tables.items()
        },
        handover={
            name: hand_over(collate, views, *plan.handovers)
            for name, collate in (
                ('list of clips', flatten_views_collate),
                ('one tensor', one_tensor_collate),
            )
        },
    )


def _facts(files: Files) -> dict[str, float]:
    sizes = [os.path.getsize(path) for path in files.paths]
    return dict(videos=len(sizes), mean_kib=statistics.mean(sizes) / 1024)


def report(found: dict, clips_per_second: float | None) -> str:
    """The tables."""
    # By files: of equal files only is the ratio one of two ways.
    public = {
        figure['files']: statistics.median(figure['clips_per_s'])
        for rows in found['tables'].values()
        for row, figure in rows.items()
        if row.split(', ')[-1] == PUBLIC
    }
    parts = []
    for name, rows in found['tables'].items():
        head = [name, 'clips/s a core, median (range)', f'x {PUBLIC}', 'decodes/s a core'] + [
            f'ms a clip: {p}' for p in PARTS
        ]
        head += ['cores a GPU'] if clips_per_second else []
        lines = [head]
        for row, figure in rows.items():
            speed = statistics.median(figure['clips_per_s'])
            line = [
                row,
                middle_and_spread(figure['clips_per_s'], 1),
                f'{speed / public[figure["files"]]:.2f}',
                f'{figure["decodes_per_s"]:.1f}',
            ]
            line += [f'{figure["parts_ms"][part]:.2f}' for part in PARTS]
            if clips_per_second:
                line.append(f'{math.ceil(clips_per_second / speed)}')
            lines.append(line)
        parts.append(table(lines))
    lines = [['a batch to the device', 'ms of CPU, training process', 'with the worker', 'ms']]
    for name, row in found['handover'].items():
        lines.append([name] + [f'{row[key]:.0f}' for key in ('main', 'all', 'wall')])
    return '\n\n'.join(parts + [table(lines)])


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        '--videos',
        nargs='+',
        default=[],
        metavar='PATH',
        help='files or folders, instead of videos made here',
    )
    known = [
        name for name in ('pyav', 'decord', 'torchcodec', 'opencv') if name in available_backends()
    ]
    parser.add_argument(
        '--backends',
        nargs='+',
        choices=known,
        default=known,
        help='the first one is varied (default: %(default)s)',
    )
    parser.add_argument(
        '--views',
        nargs='+',
        type=positive,
        default=[1, 2, 4, 8],
        help='clips a decode (default: 1 2 4 8)',
    )
    parser.add_argument(
        '--sizes',
        nargs='+',
        type=_size,
        default=[(340, 256), (1280, 720)],
        metavar='WIDTHxHEIGHT',
        help='(default: 340x256 1280x720)',
    )
    parser.add_argument(
        '--keyframes',
        nargs='+',
        type=positive,
        default=[12, 48, 250],
        help='frames from one to the next (default: 12 48 250)',
    )
    parser.add_argument('--frames', type=positive, default=300, help='of a video (default: 300)')
    parser.add_argument(
        '--count', type=positive, default=4, help='videos of each kind (default: 4)'
    )
    parser.add_argument(
        '--repeats', type=positive, default=7, help='timed turns of each (default: 7)'
    )
    parser.add_argument('--warmup', type=positive, default=1, help='turns before that (default: 1)')
    parser.add_argument(
        '--clips-per-second',
        type=float,
        metavar='N',
        help='what a GPU trains on (pretrain_step.py measures it): says how many cores feed it',
    )
    parser.add_argument('--quick', action='store_true', help='tiny and rough: to try it out')
    parser.add_argument('--json', type=Path, help='write all figures to this file too')
    return parser.parse_args(arguments)


def _size(text: str) -> tuple:
    sides = text.split('x')
    if len(sides) != 2 or not all(s.isdecimal() and int(s) > 1 and int(s) % 2 == 0 for s in sides):
        raise argparse.ArgumentTypeError(f'{text!r} is no size: two even numbers, as 340x256')
    return int(sides[0]), int(sides[1])


def plan_of(args: argparse.Namespace) -> Plan:
    """What the command line asks for."""
    if args.quick:
        return Plan(backends=args.backends, **QUICK)
    return Plan(
        args.backends,
        args.views,
        args.sizes,
        args.keyframes,
        args.frames,
        args.count,
        4,
        args.repeats,
        args.warmup,
        (10, 64),
    )


def hold_to_one_core() -> bool:
    """Keep this process to one core and one thread; whether that works."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    if not hasattr(os, 'sched_setaffinity'):
        return False
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    return True


def main(arguments: list[str] | None = None) -> None:
    """Read the command line, measure, print."""
    args = parse_args(arguments)
    plan = plan_of(args)
    facts = describe(Machine('cpu', 'fp32', 1))
    try:
        given = own_files(args.videos) if args.videos else None
        pinned = hold_to_one_core()
        with tempfile.TemporaryDirectory() as folder:
            found = measure(plan, given, Path(folder))
    except (ValueError, OSError, UnreadableVideoError, UnequalError) as error:
        sys.exit(f'data_pipeline.py: {error}')
    print(
        f'{VIEWS} clips a decode where not said otherwise, '
        f'{plan.repeats} turns each, '
        f'{"on one core" if pinned else "not held to one core"}'
    )
    print(', '.join(f'{name}: {value}' for name, value in facts.items()))
    for kind, rows in found['equality'].items():
        print(
            f'{kind}: largest and mean difference in levels of 255 from '
            f'{plan.backends[0]}: '
            + ', '.join(
                f'{name} {row["largest"]:.0f} and {row["mean"]:.2f}' for name, row in rows.items()
            )
        )
    print(
        'files: '
        + '; '.join(
            f'{name}: {facts["mean_kib"]:.0f} KiB each' for name, facts in found['files'].items()
        )
    )
    print()
    print(report(found, args.clips_per_second))
    write_figures(args.json, machine=facts, backends=plan.backends, **found)


if __name__ == '__main__':
    main()
