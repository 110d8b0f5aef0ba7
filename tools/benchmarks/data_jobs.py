"""What data_pipeline.py measures: ways of making clips, compared and timed."""

import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import amd_mm  # noqa: F401, its import-time fixes serve what follows
import torch
from common import UnequalError, note
from data_files import Files
from data_ways import DECODE, LEVERS, MEAN, OPEN, PARTS, PUBLIC, RESIZE_FIRST, STD, Lean, Public
from mmengine.model import stack_batch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

# In levels of 0 to 255. PIL and OpenCV weight pixels alike where a crop is
# enlarged, up to rounding. Where it shrinks, PIL takes in more neighbours:
# there is no limit for a pixel there, only one for a clip's average.
_ROUNDING, _LARGEST_MEAN = 2, 2.0


def difference(one: Tensor, other: Tensor) -> dict[str, float]:
    """How far two batches of clips are apart, in levels from 0 to 255.

    Args:
        one (Tensor): (B, C, T, H, W), uint8, or normalised float32.
        other (Tensor): The same.

    Returns:
        Dict[str, float]: The ``largest`` difference, and the ``mean`` of the
        clip where it is largest.
    """
    apart = (_levels(one) - _levels(other)).abs()
    return dict(largest=apart.max().item(), mean=apart.flatten(1).mean(1).max().item())


def _levels(clips: Tensor) -> Tensor:
    if clips.dtype == torch.uint8:
        return clips.float()
    shape = (3, 1, 1, 1)
    return clips * torch.from_numpy(STD).view(shape) + torch.from_numpy(MEAN).view(shape)


def compare(
    files: Files, rounding: bool, backends: Sequence[str], seeds: Sequence[int]
) -> dict[str, dict[str, float]]:
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
    ways: dict[str, Any] = {name: Lean(name) for name in backends[1:]}
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

    def figures(self, runs: list[dict]) -> dict:
        """Clips a CPU second and what they are made of, from its runs."""
        videos = len(self.files.paths)
        clips = videos * self.way.clips_per_video
        parts = {
            part: 1e3 * statistics.median(run['parts'][part] for run in runs) / clips
            for part in PARTS
        }
        reading = (parts[OPEN] + parts[DECODE]) * self.way.clips_per_video
        return dict(
            files=self.files.name,
            clips_per_s=[clips / run['cpu'] for run in runs],
            decodes_per_s=1e3 * self.way.decodes / reading,
            parts_ms=parts,
            wall_per_cpu=statistics.median(run['wall'] / run['cpu'] for run in runs),
        )


def take_turns(jobs: dict[str, Job], repeats: int, warmup: int) -> dict[str, dict]:
    """Time jobs in turns, A B A B ..., each turn with draws of its own.

    Args:
        jobs (Dict[str, Job]): By name.
        repeats (int): Timed runs of each.
        warmup (int): Runs of each that are not timed.

    Returns:
        Dict[str, dict]: See :meth:`Job.figures`.
    """
    runs: dict[str, list[dict]] = {name: [] for name in jobs}
    for turn in range(warmup + repeats):
        for name, job in jobs.items():
            run = job.run(turn)
            if turn >= warmup:
                runs[name].append(run)
        note(f'turn {turn + 1} of {warmup + repeats}{" (warm-up)" if turn < warmup else ""}')
    return {name: job.figures(runs[name]) for name, job in jobs.items()}


class ReadyViews(Dataset):
    """The views of one video, over and over, as if just made."""

    def __init__(self, views: list[dict], videos: int) -> None:
        self.views = views
        self.videos = videos

    def __len__(self) -> int:
        return self.videos

    def __getitem__(self, index: int) -> list[dict]:
        return [dict(v, inputs=v['inputs'].clone()) for v in self.views]


def hand_over(collate: Callable, views: list[dict], batches: int, clips: int) -> dict[str, float]:
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
        after.children_user + after.children_system - before.children_user - before.children_system
    )
    return dict(
        main=1e3 * main / batches, all=1e3 * (main + worker) / batches, wall=1e3 * wall / batches
    )
