"""Measure how many clips one CPU core decodes, crops and packs for pre-training.

    python tools/benchmarks/data_pipeline.py [--videos PATH ...] [--clips-per-second N]

The pipeline of `configs/_base_/datasets/k400.py` with each video decoder, compared with

- `public`: the public code's way: one decode by decord for all views, PIL crops and resizes frames,
  and the worker normalises them in float32 and stacks them;
- `public, 1 view`: the same with one decode for each clip.

All run in turns in one process on one core, and CPU time is counted, so waiting for a disk is not
included. Nothing is timed unless all make the same clips, up to the rounding of the resize.

`--long SECONDS` reads clips of 16 frames, every fourth, from one long file of each container
instead, each three times: bare decoding by PyAV (seek, decode, convert the frames) and the
readers, with the bytes read. `--megabits 8` writes files of about 1 MB a second. avi and webm
have MPEG-4 and VP9, the others H.264.

`--names` measures how long `VideoFolderDataset` takes to list 200 000 files, and its memory.
"""

import argparse
import copy
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path

import _venv  # noqa: F401, first: finds the packages
import amd_mm  # noqa: F401, its import-time fixes come first
import common
import cv2
import numpy as np
import torch
from amd_mm.datasets import (
    UnreadableVideoError,
    VideoFolderDataset,
    available_backends,
    find_videos,
    open_video,
    seeded_randomness,
    stack_views_collate,
)
from amd_mm.registry import TRANSFORMS
from mmengine.config import Config
from mmengine.dataset import Compose
from PIL import Image
from torch import Tensor

CONFIG = Path(__file__).resolve().parents[2] / 'configs' / '_base_' / 'datasets' / 'k400.py'
MEAN = torch.tensor([123.675, 116.28, 103.53]).view(3, 1, 1, 1)
STD = torch.tensor([58.395, 57.12, 57.375]).view(3, 1, 1, 1)
PUBLIC, PUBLIC_1 = 'public', 'public, 1 view'
# Differences from the first decoder, in levels of 0 to 255. Where a crop is enlarged, PIL and
# OpenCV differ by rounding; where it shrinks, PIL's filter is wider, so only the mean is limited.
LARGEST_WHERE_ENLARGED, MEAN_WHERE_SHRUNK = 2, 2.0
CODECS = dict(mp4='libx264', mov='libx264', mkv='libx264', avi='mpeg4', webm='libvpx-vp9')
QUALITIES = {  # without --megabits
    'libx264': dict(crf='23'),
    'mpeg4': dict(flags='+qscale', global_quality=str(118 * 4)),
    'libvpx-vp9': dict(crf='33', b='0'),
}
FAST = {'libvpx-vp9': {'deadline': 'realtime', 'cpu-used': '8'}}

Batch = Callable[[Sequence[str], int], Tensor]
"""Makes clips (B, C, T, H, W) of some videos; the seed decides times and crops."""


def package_pipeline(backend: str, views: int) -> Batch:
    """This package's pipeline: uint8 clips."""
    cfg = copy.deepcopy(Config.fromfile(CONFIG).train_dataloader.dataset.pipeline)
    cfg[0].update(backend=backend, num_threads=1)
    cfg[-1].num_views = views
    pipeline = Compose([TRANSFORMS.build(transform) for transform in cfg])

    def make_batch(paths: Sequence[str], seed: int) -> Tensor:
        samples = []
        for path in paths:
            with seeded_randomness(np.random.SeedSequence(seed)):
                video = dict(filename=path, modality='RGB', label=-1, start_index=0)
                samples.append(pipeline(video))
        return stack_views_collate(samples)['inputs'][0]

    return make_batch


def public_pipeline(backend: str, views: int, decodes: int = 1) -> Batch:
    """The public code's pipeline: normalised float32 clips."""
    cfg = Config.fromfile(CONFIG).train_dataloader.dataset.pipeline
    sample_frames = TRANSFORMS.build(cfg[1])
    crop = TRANSFORMS.build(cfg[-1].transforms[0])

    def make_clip(frames: Sequence[np.ndarray]) -> Tensor:
        box = crop(dict(img_shape=frames[0].shape[:2]))['crop_bbox'].tolist()
        pictures = [
            np.array(Image.fromarray(f).crop(box).resize(crop.input_size, Image.BILINEAR))
            for f in frames
        ]
        clip = torch.from_numpy(np.stack(pictures)).permute(3, 0, 1, 2).contiguous()
        return (clip.float() - MEAN) / STD

    def make_batch(paths: Sequence[str], seed: int) -> Tensor:
        clips = []
        for path in paths:
            for turn in range(decodes):
                with (
                    seeded_randomness(np.random.SeedSequence(seed + turn)),
                    open_video(path, backend) as reader,
                ):
                    times = dict(total_frames=len(reader), start_index=0, avg_fps=30.0)
                    frames = reader.read(sample_frames(times)['frame_inds'])
                    clips += [make_clip(frames) for _ in range(views)]
        return torch.stack(clips)

    return make_batch


def difference(one: Tensor, other: Tensor) -> dict[str, float]:
    """The largest difference of two batches, and the largest mean difference of a clip."""
    levels = [
        clips.float() if clips.dtype == torch.uint8 else clips * STD + MEAN
        for clips in (one, other)
    ]
    apart = (levels[0] - levels[1]).abs()
    return dict(largest=apart.max().item(), mean=apart.flatten(1).mean(1).max().item())


def compare(pipelines: dict[str, Batch], paths: Sequence[str], seeds: Sequence[int]) -> dict:
    """Differences of all pipelines from the first one.

    Raises:
        UnequalError: If one is larger than the resize explains.
    """
    first, *others = pipelines
    found = {name: dict(largest=0.0, mean=0.0) for name in others}
    for seed in seeds:
        expected = pipelines[first](paths, seed)
        for name in others:
            row = difference(pipelines[name](paths, seed), expected)
            found[name] = {key: max(value, row[key]) for key, value in found[name].items()}
    with open_video(paths[0], available_backends()[0]) as reader:
        enlarged = max(reader.read([0])[0].shape[:2]) <= expected.shape[-1]
    key, limit = ('largest', LARGEST_WHERE_ENLARGED) if enlarged else ('mean', MEAN_WHERE_SHRUNK)
    for name, row in found.items():
        if row[key] > limit:
            raise common.UnequalError(
                f'the {key} difference of clips by {name!r} and by {first!r} is {row[key]:.2f} '
                f'levels of 255, above {limit}; nothing was timed'
            )
    return found


def time_in_turns(
    pipelines: dict[str, Batch], paths: Sequence[str], args: argparse.Namespace
) -> dict[str, list[float]]:
    """Clips per CPU second of each timed run, with new crops in every turn."""
    speeds: dict[str, list[float]] = {name: [] for name in pipelines}
    for turn in range(args.warmup + args.repeats):
        for name, make_batch in pipelines.items():
            started = time.process_time()
            clips = make_batch(paths, turn)
            seconds = time.process_time() - started
            if turn >= args.warmup:
                speeds[name].append(len(clips) / seconds)
        common.log(f'run {turn + 1} of {args.warmup + args.repeats}')
    return speeds


def write_video(
    path: Path,
    size: tuple[int, int],
    frames: int,
    seed: int,
    keyframes: int = 48,
    codec: str = 'libx264',
    megabits: float | None = None,
) -> str:
    """Write a moving, noisy texture of 30 frames a second, with a keyframe now and then.

    The noise is slight, or as much as a rate of megabits per second needs.
    """
    import av

    width, height = size
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (24, 32, 3), np.uint8)
    texture = cv2.resize(coarse, (2 * width, 2 * height), interpolation=cv2.INTER_CUBIC)
    rate = QUALITIES[codec] if megabits is None else dict(b=str(round(megabits * 1e6)))
    strongest = 3 if megabits is None else 60
    options = {**rate, **FAST.get(codec, {}), 'g': str(keyframes)}
    with av.open(str(path), 'w') as file:
        stream = file.add_stream(codec, rate=30, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, 'yuv420p'
        stream.codec_context.thread_count = 1
        for number in range(frames):
            x = int((math.sin(number / 40 + seed) + 1) / 2 * width)
            y = int((math.cos(number / 55) + 1) / 2 * height)
            noise = random.integers(-strongest, strongest + 1, (height, width, 1), np.int16)
            frame = np.clip(texture[y : y + height, x : x + width] + noise, 0, 255)
            picture = av.VideoFrame.from_ndarray(frame.astype(np.uint8), format='rgb24')
            file.mux(stream.encode(picture))
        file.mux(stream.encode())
    return str(path)


def repeat_video(source: str, path: Path, times: int, frames: int) -> str:
    """Write a video of 30 frames a second several times over, without encoding it again."""
    import av

    with av.open(str(path), 'w') as new:
        stream = None
        for turn in range(times):
            with av.open(source) as old:
                if stream is None:
                    stream = new.add_stream_from_template(old.streams.video[0])
                    stream.time_base = Fraction(1, 30)  # avi lists every tick
                for packet in old.demux(old.streams.video[0]):
                    if packet.dts is not None:
                        shift = round(turn * frames / 30 / packet.time_base)
                        packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                        packet.stream = stream
                        new.mux(packet)
    return str(path)


def decode_bare(path: str, indices: Sequence[int]) -> list[np.ndarray]:
    """Frames of a file of 30 frames a second: seek, decode all, convert those asked for."""
    import av

    with av.open(path) as file:
        stream = file.streams.video[0]
        stream.codec_context.thread_count = 1
        file.seek(int(indices[0] / 30 / stream.time_base), stream=stream)
        found: list[np.ndarray] = []
        for frame in file.decode(stream):
            if round(frame.time * 30) in indices:
                found.append(frame.to_ndarray(format='rgb24'))
            if len(found) == len(indices):
                break
    return found


def read_clip(path: str, indices: Sequence[int], backend: str) -> list[np.ndarray]:
    """The same by one of the package's readers."""
    with open_video(path, backend) as reader:
        return reader.read(indices)


def cost_of(read: Callable[[], list[np.ndarray]]) -> tuple[float, float]:
    """CPU seconds and MiB that the process reads."""

    def read_so_far() -> int:
        return int(Path('/proc/self/io').read_text().split()[1])  # rchar

    size, started = read_so_far(), time.process_time()
    read()
    return time.process_time() - started, (read_so_far() - size) / 2**20


def cheapest(path: str, name: str, read: Callable[[], list[np.ndarray]]) -> tuple[float, float]:
    """The least cost of three reads: other programs on the machine make some slower."""
    costs = []
    for _ in range(3):
        if 'first' in name:
            os.utime(path)  # the reader lists the frames anew
        costs.append(cost_of(read))
    return min(costs)


def write_long(container: str, args: argparse.Namespace, folder: Path) -> str:
    """Write the same group of pictures, which begins with a keyframe, again and again."""
    codec = CODECS[container]
    length = min(30 * args.long, args.keyframes)
    part = folder / f'{codec}.{"webm" if container == "webm" else "mp4"}'
    if not part.exists():
        write_video(part, (640, 360), length, 0, length, codec, args.megabits)
    times = 30 * args.long // length
    return repeat_video(str(part), folder / f'long.{container}', times, length)


def measure_long(args: argparse.Namespace, folder: Path) -> dict[str, dict[str, list]]:
    """CPU seconds and MiB of clips of a long file, by container and reader.

    Raises:
        UnequalError: If the readers do not give the frames of bare decoding.
    """
    found: dict[str, dict[str, list]] = {}
    for container in args.containers:
        path = write_long(container, args, folder)
        with open_video(path) as reader:
            length = len(reader)
        common.log(f'{container}: {os.path.getsize(path) / 2**20:.0f} MiB, {length} frames')
        rows = found[container] = {}
        for clip in range(args.repeats):
            start = int((clip + 0.5) / args.repeats * (length - 61))
            for name, cost in costs_of_clip(path, range(start, start + 64, 4), args).items():
                rows.setdefault(name, []).append(cost)
        os.remove(path)
    return found


def costs_of_clip(path: str, indices: range, args: argparse.Namespace) -> dict[str, tuple]:
    """CPU seconds and MiB of one clip, by reader."""
    expected = np.array(decode_bare(path, indices), np.int16)
    steps = {'bare decoding': partial(decode_bare, path, indices)}
    # In avi the other decoders seek wrongly; their readers decode the whole file.
    backends = [name for name in args.backends if name == 'pyav' or not path.endswith('.avi')]
    for name in backends:
        steps[name] = partial(read_clip, path, indices, name)
        if np.abs(expected - np.array(steps[name]())).mean() > MEAN_WHERE_SHRUNK:
            raise common.UnequalError(f'{name} reads other frames of {Path(path).name}')
    if 'pyav' in steps:
        later = steps.pop('pyav')
        steps = {**steps, 'pyav, first clip': later, 'pyav, later clips': later}
    return {name: cheapest(path, name, step) for name, step in steps.items()}


def report_long(found: dict[str, dict[str, list]]) -> str:
    """The measurements of long files as a table."""
    rows = [['', 'CPU seconds, median', 'relative to bare decoding', 'MiB read, median']]
    for container, costs in found.items():
        medians = {name: np.median(values, 0) for name, values in costs.items()}
        for name, (seconds, size) in medians.items():
            relative = f'{seconds / medians["bare decoding"][0]:.2f} x'
            rows.append([f'{container}: {name}', f'{seconds:.2f}', relative, f'{size:.1f}'])
    return common.table(rows)


def measure_names(count: int, folder: Path) -> dict[str, float]:
    """Seconds and bytes for each name, when a data set lists a folder of empty files."""
    for start in range(0, count, 1000):
        below = folder / f'{start // 1000:04}'
        below.mkdir()
        for number in range(start, min(start + 1000, count)):
            (below / f'video_{number:07}.mp4').touch()
    started = time.perf_counter()
    dataset = VideoFolderDataset(str(folder), pipeline=[])
    seconds = time.perf_counter() - started
    size = dataset.data_bytes.nbytes + dataset.data_address.nbytes
    return dict(names=len(dataset), seconds=seconds, bytes_a_name=size / len(dataset))


def report_names(found: dict[str, float]) -> str:
    """The measurement of names as a table."""
    values = [f'{found["names"]}', f'{found["seconds"]:.1f}', f'{found["bytes_a_name"]:.0f}']
    return common.table([['names', 'seconds', 'bytes a name'], values])


def list_videos(given: Sequence[str]) -> list[str]:
    """The files, and all videos in the folders.

    Raises:
        FileNotFoundError: If a path does not exist.
    """
    paths = []
    for name in given:
        if os.path.isdir(name):
            paths += [os.path.join(name, found) for found in find_videos(name)]
        elif os.path.isfile(name):
            paths.append(name)
        else:
            raise FileNotFoundError(f'--videos {name} does not exist')
    return paths


def use_one_core() -> None:
    """Restrict this process to one core and one thread."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    if hasattr(os, 'sched_setaffinity'):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def measure(args: argparse.Namespace, folder: Path) -> dict:
    """Make videos unless some are given, compare the clips, then time."""
    views = args.views
    published = 'decord' if 'decord' in available_backends() else args.backends[0]
    small = [write_video(folder / 'small.mp4', (96, 72), 80, 0)]
    paths = list_videos(args.videos) or [
        write_video(folder / f'{seed}.mp4', (340, 256), 300, seed) for seed in range(4)
    ]
    exact = {name: package_pipeline(name, views) for name in args.backends}
    exact[PUBLIC] = public_pipeline(published, views)
    pipelines = {**exact, PUBLIC_1: public_pipeline(published, 1, views)}
    return dict(
        small_videos=compare(exact, small, range(2)),
        videos=compare(exact, paths, range(2)),
        clips_per_s=time_in_turns(pipelines, paths, args),
    )


def report(found: dict, clips_per_second: float | None) -> str:
    """The measurements as a table."""
    medians = {name: statistics.median(values) for name, values in found['clips_per_s'].items()}
    rows = [['', 'clips/s per core, median (range)', f'relative to {PUBLIC}']]
    for name, values in found['clips_per_s'].items():
        speed = f'{medians[name] / medians[PUBLIC]:.2f} x'
        rows.append([name, common.median_and_range(values, 1), speed])
    if clips_per_second:
        rows[0].append(f'cores for {clips_per_second:g} clips/s')
        for row in rows[1:]:
            row.append(str(math.ceil(clips_per_second / medians[row[0]])))
    return common.table(rows)


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    known = [name for name in ('pyav', 'decord', 'torchcodec') if name in available_backends()]
    add('--videos', nargs='+', default=[], metavar='PATH', help='files or folders to read')
    add('--backends', nargs='+', choices=known, default=known, help='decoders (default: all)')
    add('--views', type=common.positive, default=4, help='clips per decoded video (default: 4)')
    add('--long', type=common.positive, metavar='SECONDS', help='measure long files, see above')
    add('--containers', nargs='+', choices=CODECS, default=list(CODECS), help='of long files')
    add('--megabits', type=float, help='bit rate of long files, in millions per second')
    add('--keyframes', type=common.positive, default=250, help='frames from one to the next (250)')
    add('--names', nargs='?', type=common.positive, const=200_000, help='list so many names')
    add('--clips-per-second', type=float, help='add the number of cores that feed such a GPU')
    common.add_timing_arguments(parser)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Read the command line, measure and print."""
    args = parse_args(arguments)
    use_one_core()
    facts = common.describe_machine()
    try:
        with tempfile.TemporaryDirectory() as folder:
            if args.names:
                found = measure_names(args.names, Path(folder))
            elif args.long:
                found = measure_long(args, Path(folder))
            else:
                found = measure(args, Path(folder))
    except (ValueError, OSError, UnreadableVideoError) as error:
        sys.exit(f'data_pipeline.py: {error}')
    if args.long or args.names:
        print(', '.join(f'{name}: {value}' for name, value in facts.items()))
        print(f'\n{report_names(found) if args.names else report_long(found)}')
        common.write_json(args.json, dict(machine=facts, command=sys.argv, **found))
        return
    print(f'{args.views} clips per decoded video, {args.repeats} runs')
    print(', '.join(f'{name}: {value}' for name, value in facts.items()))
    for kind in ('small_videos', 'videos'):
        rows = (f'{k} {v["largest"]:.0f} / {v["mean"]:.2f}' for k, v in found[kind].items())
        first = args.backends[0]
        print(f'{kind}: largest / mean difference from {first} in levels of 255: {", ".join(rows)}')
    print(f'\n{report(found, args.clips_per_second)}')
    common.write_json(args.json, dict(machine=facts, command=sys.argv, **found))


if __name__ == '__main__':
    main()
