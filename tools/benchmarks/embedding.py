"""Compare `amd_mm.embed` with extracting the features of one video after the other.

    python tools/benchmarks/embedding.py --size tiny --workers 2

Nothing is timed unless both give the same features. They run in turns; the table shows videos per
second and the CPU time of a video, workers included. The second table shows the parts of it:
reading the clip of a video, and the forward pass in batches.
"""

import argparse
import contextlib
import io
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import _venv  # noqa: F401, first: finds the packages
import amd_mm  # noqa: F401, its import-time fixes come first
import common
import numpy as np
import torch
from amd_mm.apis import load_encoder
from amd_mm.datasets.inference import read_clips
from amd_mm.evaluation.features import embed, file_names
from amd_mm.inference import Model
from data_pipeline import list_videos, write_video
from mmengine.config import Config
from recognition import SIZES, TOLERANCE

EMBED, ONE_BY_ONE = 'embed', 'one by one'
MODEL_DTYPES = dict(fp32='float32', bf16='bfloat16', fp16='float16')


def build_model(args: argparse.Namespace) -> Model:
    """A video ViT with random weights."""
    torch.manual_seed(0)
    backbone = dict(
        type='amd_mm.VideoVisionTransformer',
        img_size=args.side,
        num_frames=args.frames,
        **SIZES[args.size],
    )
    cfg = Config(dict(model=dict(backbone=backbone)))
    return Model(load_encoder((cfg, None), args.device), MODEL_DTYPES[args.dtype])


def embed_all(model: Model, paths: Sequence[str], args: argparse.Namespace) -> np.ndarray:
    """Features (videos, C) by :func:`amd_mm.embed`, through a new folder."""
    quiet = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
    with tempfile.TemporaryDirectory() as folder, quiet[0], quiet[1]:
        embed(paths, model, folder, workers=args.workers, batch_size=args.batch)
        files = [Path(folder, name) for name in file_names(paths)]
        return np.concatenate([np.load(file) for file in files])


def one_by_one(model: Model, paths: Sequence[str]) -> np.ndarray:
    """Features (videos, C), one call for each video."""
    return np.concatenate([model.features(path).numpy() for path in paths])


def largest_difference(one: np.ndarray, other: np.ndarray, dtype: str) -> float:
    """The largest difference, relative to the largest value.

    Raises:
        UnequalError: If it is too large.
    """
    found = float(np.abs(one - other).max() / np.abs(other).max())
    if not found <= TOLERANCE[dtype]:
        raise common.UnequalError(f'{EMBED} and {ONE_BY_ONE} differ by {found:.1e}')
    return found


def cpu_seconds() -> float:
    """CPU time of this process and of its finished workers."""
    return sum(os.times()[:4])


def counting_cpu(step: Callable[[], object], spent: list[float]) -> Callable[[], None]:
    """A step that also notes its CPU time."""

    def run() -> None:
        before = cpu_seconds()
        step()
        spent.append(cpu_seconds() - before)

    return run


def measure(args: argparse.Namespace, paths: Sequence[str]) -> dict:
    """Compare the features, then time both ways and the parts."""
    model = build_model(args)
    ways: dict[str, Callable[[], np.ndarray]] = {
        EMBED: lambda: embed_all(model, paths, args),
        ONE_BY_ONE: lambda: one_by_one(model, paths),
    }
    difference = largest_difference(ways[EMBED](), ways[ONE_BY_ONE](), args.dtype)
    spent: dict[str, list[float]] = {name: [] for name in ways}
    steps = {name: counting_cpu(way, spent[name]) for name, way in ways.items()}
    seconds = common.time_in_turns(steps, args)
    backbone, some = model.encoder.backbone, paths[: args.batch]
    clips = read_clips(backbone, some)
    parts = {
        'reading': lambda: read_clips(backbone, some),
        'forward, batches of 1': lambda: [
            model.encoder.encode(c, model.dtype) for c in clips[:, None]
        ],
        f'forward, batches of {len(some)}': lambda: model.encoder.encode(clips, model.dtype),
    }
    used: dict[str, list[float]] = {name: [] for name in parts}
    wall = common.time_in_turns(
        {name: counting_cpu(part, used[name]) for name, part in parts.items()}, args
    )
    return dict(
        difference=difference,
        videos=len(paths),
        seconds=seconds,
        cpu_seconds={name: values[args.warmup :] for name, values in spent.items()},
        part_seconds={name: [one / len(some) for one in values] for name, values in wall.items()},
        part_cpu_seconds={
            name: [one / len(some) for one in values[args.warmup :]]
            for name, values in used.items()
        },
    )


def report(found: dict) -> str:
    """The measurements as two tables."""
    videos, rows = found['videos'], [['', 'videos/s, median (range)', 'CPU ms a video']]
    for name, values in found['seconds'].items():
        speeds = common.median_and_range([videos / one for one in values], 2)
        cpu = statistics.median(found['cpu_seconds'][name]) / videos
        rows.append([name, speeds, f'{1e3 * cpu:.0f}'])
    wall, cpu = (
        [statistics.median(found[key][name]) for name in (EMBED, ONE_BY_ONE)]
        for key in ('seconds', 'cpu_seconds')
    )
    ratios = f'{wall[1] / wall[0]:.2f} x', f'{cpu[0] / cpu[1]:.2f} x'
    rows.append([f'{EMBED} / {ONE_BY_ONE}', *ratios])
    parts = [['part', 'ms a video, median (range)', 'CPU ms a video']]
    for name, values in found['part_seconds'].items():
        cpu = statistics.median(found['part_cpu_seconds'][name])
        milliseconds = common.median_and_range([1e3 * one for one in values])
        parts.append([name, milliseconds, f'{1e3 * cpu:.0f}'])
    return f'{common.table(rows)}\n\n{common.table(parts)}'


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add('--videos', nargs='+', default=[], metavar='PATH', help='files or folders to read')
    add('--count', type=common.positive, default=32, help='videos to make otherwise (default: 32)')
    add('--size', choices=SIZES, default='tiny', help='of the ViT (default: tiny)')
    add('--frames', type=common.positive, default=16, help='(default: 16)')
    add('--side', type=common.positive, default=224, help='frame height and width (default: 224)')
    add('--batch', type=common.positive, default=8, help='clips (default: 8)')
    add('--workers', type=int, default=2, help='decoding processes (default: 2)')
    common.add_device_arguments(parser)
    common.add_timing_arguments(parser)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Read the command line, measure and print."""
    args = parse_args(arguments)
    try:
        common.prepare_device(args)
        facts = common.describe_machine(args.device, args.dtype)
        with tempfile.TemporaryDirectory() as folder:
            paths = list_videos(args.videos) or [
                write_video(Path(folder, f'{seed}.mp4'), (320, 240), 90, seed)
                for seed in range(args.count)
            ]
            found = measure(args, paths)
    except (ValueError, OSError) as error:
        sys.exit(f'embedding.py: {error}')
    print(f'ViT-{args.size}, {found["videos"]} videos, {args.workers} workers, batch {args.batch}')
    print(', '.join(f'{name}: {value}' for name, value in facts.items()))
    print(f'largest relative difference {found["difference"]:.1e}\n\n{report(found)}')
    common.write_json(args.json, dict(machine=facts, command=sys.argv, **found))


if __name__ == '__main__':
    main()
