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
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence

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
    note,
    positive,
    table,
    write_figures,
)
from data_files import Files, make_files, own_files
from data_ways import (
    DECODE,
    LEVERS,
    MEAN,
    OPEN,
    PARTS,
    PER_CLIP,
    PUBLIC,
    RESIZE_FIRST,
    STD,
    VIEWS,
    Lean,
    PerClip,
    Public,
    SmallDecord,
)
from mmengine.model import stack_batch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

# In levels of 0 to 255. PIL and OpenCV weight pixels alike where a crop is
# enlarged, up to rounding. Where it shrinks, PIL takes in more neighbours:
# there is no limit for a pixel there, only one for a clip's average.
_ROUNDING, _LARGEST_MEAN = 2, 2.0


def difference(one: Tensor, other: Tensor) -> Dict[str, float]:
    """How far two batches of clips are apart, in levels from 0 to 255.

    Args:
        one (Tensor): (B, C, T, H, W), uint8, or normalised float32.
        other (Tensor): The same.

    Returns:
        Dict[str, float]: The ``largest`` difference, and the ``mean`` of the
        clip where it is largest.
    """
    apart = (_levels(one) - _levels(other)).abs()
    return dict(
        largest=apart.max().item(), mean=apart.flatten(1).mean(1).max().item()
    )


def _levels(clips: Tensor) -> Tensor:
    if clips.dtype == torch.uint8:
        return clips.float()
    shape = (3, 1, 1, 1)
    return clips * torch.from_numpy(STD).view(shape) + torch.from_numpy(
        MEAN
    ).view(shape)


def compare(
    files: Files, rounding: bool, backends: Sequence[str], seeds: Sequence[int]
) -> Dict[str, Dict[str, float]]:
    """See that all ways make the same clips of the same draws.

    Args:
        files (Files): Of which.
        rounding (bool): Whether nothing but rounding may differ, as it is
            for frames that are smaller than the clips.
        backends (Sequence[str]): The first one is what all is compared with.
        seeds (Sequence[int]): Of the draws.

    Returns:
        Dict[str, Dict[str, float]]: Way -> see :func:`difference`.

    Raises:
        UnequalError: Beyond that.
    """
    ways: Dict[str, Any] = {name: Lean(name) for name in backends[1:]}
    # Not the one that resizes first: it moves crops by parts of a pixel.
    exact = [lever for lever in LEVERS if lever != RESIZE_FIRST]
    ways.update({name: Lean(backends[0], change=name) for name in exact})
    ways[PUBLIC] = Public()
    found = {name: dict(largest=0.0, mean=0.0) for name in ways}
    reference = Lean(backends[0])
    for seed in seeds:
        expected = reference.batch(files.paths, seed)
        for name, way in ways.items():
            row = difference(way.batch(files.paths, seed), expected)
            for key, value in row.items():
                found[name][key] = max(found[name][key], value)
    for name, row in found.items():
        limits = dict(mean=_LARGEST_MEAN)
        if name in exact:
            limits = dict(largest=0)
        elif rounding:
            limits = dict(largest=_ROUNDING)
        for key, limit in limits.items():
            if row[key] > limit:
                raise UnequalError(
                    f'{files.name}: the {key} difference of clips by '
                    f'{name!r} and by {backends[0]!r} is {row[key]:.2f} '
                    f'levels, above {limit}. Nothing was timed'
                )
    return found


@dataclass(frozen=True)
class Job:
    """What is timed.

    Attributes:
        way (Lean | Public): Makes clips.
        files (Files): Of these, one batch of all of them at a time.
    """

    way: Any
    files: Files

    def run(self, seed: int) -> dict:
        """``cpu`` and ``wall`` seconds, and CPU seconds of the ``parts``."""
        self.way.watch.clear()
        wall, cpu = time.perf_counter(), time.process_time()
        self.way.batch(self.files.paths, seed)
        cpu = time.process_time() - cpu
        wall = time.perf_counter() - wall
        return dict(cpu=cpu, wall=wall, parts=dict(self.way.watch.seconds))

    def figures(self, runs: List[dict]) -> dict:
        """Clips a CPU second and what they are made of, from its runs."""
        videos = len(self.files.paths)
        clips = videos * self.way.clips_per_video
        parts = {
            part: 1e3
            * statistics.median(run['parts'][part] for run in runs)
            / clips
            for part in PARTS
        }
        reading = (parts[OPEN] + parts[DECODE]) * self.way.clips_per_video
        return dict(
            files=self.files.name,
            clips_per_s=[clips / run['cpu'] for run in runs],
            decodes_per_s=1e3 * self.way.decodes / reading,
            parts_ms=parts,
            wall_per_cpu=statistics.median(
                run['wall'] / run['cpu'] for run in runs
            ),
        )


def take_turns(
    jobs: Dict[str, Job], repeats: int, warmup: int
) -> Dict[str, dict]:
    """Time jobs in turns, A B A B ..., each turn with draws of its own.

    Args:
        jobs (Dict[str, Job]): By name.
        repeats (int): Timed runs of each.
        warmup (int): Runs of each that are not timed.

    Returns:
        Dict[str, dict]: See :meth:`Job.figures`.
    """
    runs: Dict[str, List[dict]] = {name: [] for name in jobs}
    for turn in range(warmup + repeats):
        for name, job in jobs.items():
            run = job.run(turn)
            if turn >= warmup:
                runs[name].append(run)
        note(
            f'turn {turn + 1} of {warmup + repeats}'
            f'{" (warm-up)" if turn < warmup else ""}'
        )
    return {name: job.figures(runs[name]) for name, job in jobs.items()}


class ReadyViews(Dataset):
    """The views of one video, over and over, as if just made."""

    def __init__(self, views: List[dict], videos: int) -> None:
        self.views = views
        self.videos = videos

    def __len__(self) -> int:
        return self.videos

    def __getitem__(self, index: int) -> List[dict]:
        return [dict(v, inputs=v['inputs'].clone()) for v in self.views]


def hand_over(
    collate: Callable, views: List[dict], batches: int, clips: int
) -> Dict[str, float]:
    """What it takes to get batches from a worker to the device, stacked.

    Args:
        collate (Callable): Of the loader.
        views (List[dict]): Packed views of one video.
        batches (int): How many.
        clips (int): Of a batch.

    Returns:
        Dict[str, float]: Milliseconds a batch: ``main``, CPU time of the
        training process; ``all``, with the worker's; ``wall``.
    """
    on_gpu = torch.cuda.is_available()
    device = torch.device('cuda' if on_gpu else 'cpu')
    videos = max(clips // len(views), 1)
    loader = DataLoader(
        ReadyViews(views, videos * batches),
        batch_size=videos,
        num_workers=1,
        collate_fn=collate,
        pin_memory=on_gpu,
    )
    wall, before = time.perf_counter(), os.times()
    for batch in loader:
        stack_batch([clip.to(device) for clip in batch['inputs']])
    if on_gpu:
        torch.cuda.synchronize()
    del batch
    loader = None  # the worker's time is known when it has ended
    after, wall = os.times(), time.perf_counter() - wall
    main = after.user + after.system - before.user - before.system
    worker = (
        after.children_user
        + after.children_system
        - before.children_user
        - before.children_system
    )
    return dict(
        main=1e3 * main / batches,
        all=1e3 * (main + worker) / batches,
        wall=1e3 * wall / batches,
    )


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

    backends: List[str]
    views: List[int]
    sizes: List[tuple]
    keyframes: List[int]
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


def make_all(plan: Plan, folder: Path) -> List[Files]:
    """Write the videos; the first kind is the one that others vary."""
    size, keys = plan.sizes[0], plan.keyframes
    middle = keys[len(keys) // 2]
    kinds = [(size, middle, '')]
    kinds += [(size, every, '') for every in keys if every != middle]
    kinds += [(size, 16, 'fastdecode')]
    kinds += [(other, middle, '') for other in plan.sizes[1:]]
    return [
        make_files(folder, kind[0], plan.frames, kind[1], plan.videos, kind[2])
        for kind in kinds
    ]


def make_jobs(plan: Plan, kinds: Sequence[Files]) -> Dict[str, Dict[str, Job]]:
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
            f'{name}, {count}': lean[name]
            if count == VIEWS
            else Job(Lean(name, count), base)
            for name in plan.backends
            for count in plan.views
        },
        files={
            f'{files.name}, {name}': Job(way, files)
            for files in kinds
            for name, way in [
                *((name, Lean(name)) for name in plan.backends),
                (PUBLIC, Public()),
            ]
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


def measure(plan: Plan, given: Optional[Files], folder: Path) -> dict:
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
        f'small, {small.name}': compare(
            small, True, plan.backends, range(plan.draws)
        ),
        kinds[0].name: compare(
            kinds[0], False, plan.backends, range(plan.draws)
        ),
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


def _facts(files: Files) -> Dict[str, float]:
    sizes = [os.path.getsize(path) for path in files.paths]
    return dict(videos=len(sizes), mean_kib=statistics.mean(sizes) / 1024)


def report(found: dict, clips_per_second: Optional[float]) -> str:
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
        head = [
            name,
            'clips/s a core, median (range)',
            f'x {PUBLIC}',
            'decodes/s a core',
        ] + [f'ms a clip: {p}' for p in PARTS]
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
    lines = [
        [
            'a batch to the device',
            'ms of CPU, training process',
            'with the worker',
            'ms',
        ]
    ]
    for name, row in found['handover'].items():
        lines.append(
            [name] + [f'{row[key]:.0f}' for key in ('main', 'all', 'wall')]
        )
    return '\n\n'.join(parts + [table(lines)])


def parse_args(arguments: Optional[List[str]] = None) -> argparse.Namespace:
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
        name
        for name in ('pyav', 'decord', 'torchcodec', 'opencv')
        if name in available_backends()
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
    parser.add_argument(
        '--frames',
        type=positive,
        default=300,
        help='of a video (default: 300)',
    )
    parser.add_argument(
        '--count',
        type=positive,
        default=4,
        help='videos of each kind (default: 4)',
    )
    parser.add_argument(
        '--repeats',
        type=positive,
        default=7,
        help='timed turns of each (default: 7)',
    )
    parser.add_argument(
        '--warmup',
        type=positive,
        default=1,
        help='turns before that (default: 1)',
    )
    parser.add_argument(
        '--clips-per-second',
        type=float,
        metavar='N',
        help='what a GPU trains on (pretrain_step.py measures it): says how '
        'many cores feed it',
    )
    parser.add_argument(
        '--quick', action='store_true', help='tiny and rough: to try it out'
    )
    parser.add_argument(
        '--json', type=Path, help='write all figures to this file too'
    )
    return parser.parse_args(arguments)


def _size(text: str) -> tuple:
    sides = text.split('x')
    if len(sides) != 2 or not all(
        s.isdecimal() and int(s) > 1 and int(s) % 2 == 0 for s in sides
    ):
        raise argparse.ArgumentTypeError(
            f'{text!r} is no size: two even numbers, as 340x256'
        )
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


def main(arguments: Optional[List[str]] = None) -> None:
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
                f'{name} {row["largest"]:.0f} and {row["mean"]:.2f}'
                for name, row in rows.items()
            )
        )
    print(
        'files: '
        + '; '.join(
            f'{name}: {facts["mean_kib"]:.0f} KiB each'
            for name, facts in found['files'].items()
        )
    )
    print()
    print(report(found, args.clips_per_second))
    write_figures(args.json, machine=facts, backends=plan.backends, **found)


if __name__ == '__main__':
    main()
