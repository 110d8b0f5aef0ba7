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
import copy
import json
import math
import os
import statistics
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence

import cv2
import numpy as np
import torch
from mmaction.datasets.transforms import MultiScaleCrop
from mmengine.config import Config
from mmengine.model import stack_batch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

import amd_mm  # noqa: F401, its import-time fixes serve what follows
from amd_mm.datasets import (UnreadableVideoError, available_backends,
                             find_videos, flatten_views_collate,
                             one_tensor_collate, open_video, seeded_randomness)
from amd_mm.datasets.transforms import ResizeClip
from amd_mm.registry import TRANSFORMS
from common import (Machine, describe, middle_and_spread, note, positive,
                    table)

_CONFIG = (
    Path(__file__).resolve().parents[2] / 'configs' / '_base_' / 'datasets' /
    'k400.py')
OPEN, DECODE, CROP, PACK, COLLATE = PARTS = ('open', 'seek + decode',
                                             'crop + resize', 'pack',
                                             'collate')
_PART_OF = dict(
    VideoInit=OPEN,
    SampleFrames=OPEN,
    VideoDecode=DECODE,
    MultiScaleCrop=CROP,
    Resize=CROP,
    ResizeClip=CROP,
    EveryFrame=DECODE,
    ResizeAsChannels=CROP,
    ResizeBeforeCrop=CROP)
_MEAN = np.array([123.675, 116.28, 103.53], np.float32)
_STD = np.array([58.395, 57.12, 57.375], np.float32)
PUBLIC, PER_CLIP = 'public', 'per clip'
# In levels of 0 to 255. PIL and OpenCV weight pixels alike where a crop is
# enlarged, up to rounding. Where it shrinks, PIL takes in more neighbours:
# there is no limit for a pixel there, only one for a clip's average.
_ROUNDING, _LARGEST_MEAN = 2, 2.
_VIEWS = 4  # as published


class UnequalError(Exception):
    """The ways do not make the same clips."""


@dataclass(frozen=True)
class Files:
    """Videos of one kind.

    Attributes:
        name (str): What is special about them.
        paths (List[str]): The videos.
    """
    name: str
    paths: List[str]


class Stopwatch:
    """CPU seconds of this process by part of the pipeline."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(PARTS, 0.)

    def clear(self) -> None:
        """Begin anew."""
        self.seconds.update(dict.fromkeys(PARTS, 0.))

    def total(self) -> float:
        """Seconds of all parts."""
        return sum(self.seconds.values())

    @contextmanager
    def on(self, part: str) -> Iterator[None]:
        """Add what the block takes to a part."""
        started = time.process_time()
        yield
        self.seconds[part] += time.process_time() - started

    def timed(self, transform: Callable) -> Callable:
        """The transform, timed as the part it belongs to."""
        part = _PART_OF.get(type(transform).__name__, PACK)
        return self.timed_as(part, transform)

    def timed_as(self, part: str, transform: Callable) -> Callable:
        """The transform, timed as that part."""

        def call(results: Any) -> Any:
            with self.on(part):
                return transform(results)

        return call


# -- test videos ------------------------------------------------------------


def write_video(path: Path, size: Sequence[int], frames: int, keyframes: int,
                seed: int, tune: str) -> None:
    """Write an H.264 file: shapes over a moving, slightly noisy texture.

    Args:
        path (Path): The file; its folder is there.
        size (Sequence[int]): Width and height.
        frames (int): How many.
        keyframes (int): Frames from one keyframe to the next, at most.
        seed (int): Decides texture, shapes and motion.
        tune (str): x264's, ``fastdecode`` for instance; empty for none.
    """
    import av
    width, height = size
    random = np.random.default_rng(seed)
    texture = cv2.resize(
        random.integers(0, 256, (24, 32, 3), np.uint8),
        (2 * width, 2 * height),
        interpolation=cv2.INTER_CUBIC)
    side = height // 4
    room = np.array([width - side, height - side])
    shapes = [
        cv2.resize(
            random.integers(0, 256, (5, 5, 3), np.uint8), (side, side),
            interpolation=cv2.INTER_CUBIC) for _ in range(6)
    ]
    places = random.uniform(0, 1, (6, 2)) * room
    speeds = random.uniform(-.015, .015, (6, 2)) * height
    options = dict(crf='23', g=str(keyframes))
    if tune:
        options['tune'] = tune
    with av.open(str(path), 'w') as file:
        stream = file.add_stream('libx264', rate=30, options=options)
        stream.width, stream.height, stream.pix_fmt = *size, 'yuv420p'
        stream.codec_context.thread_count = 1
        for number in range(frames):
            x = int((math.sin(number / 40 + seed) + 1) / 2 * width)
            y = int((math.cos(number / 55) + 1) / 2 * height)
            frame = texture[y:y + height, x:x + width].astype(np.int16)
            # Reflected at the borders.
            spots = np.abs((places + number * speeds) % (2 * room) - room)
            for shape, (left, top) in zip(shapes, spots.astype(int)):
                frame[top:top + side, left:left + side] = shape
            frame += random.integers(-3, 4, (height, width, 1), np.int16)
            picture = np.clip(frame, 0, 255).astype(np.uint8)
            file.mux(
                stream.encode(
                    av.VideoFrame.from_ndarray(picture, format='rgb24')))
        file.mux(stream.encode())


def make_files(folder: Path,
               size: Sequence[int],
               frames: int,
               keyframes: int,
               count: int,
               tune: str = '') -> Files:
    """Write ``count`` videos of a kind."""
    name = f'{size[0]}x{size[1]}, keyframe every {keyframes}'
    name += f', {tune}' if tune else ''
    note(f'writing {count} videos: {name}')
    paths = []
    for seed in range(count):
        paths.append(folder / f'{name} {seed}.mp4')
        write_video(paths[-1], size, frames, keyframes, seed, tune)
    return Files(name, [str(path) for path in paths])


def own_files(given: Sequence[str]) -> Files:
    """The user's videos: files, and all that are in folders."""
    paths = []
    for name in given:
        if os.path.isdir(name):
            paths += [os.path.join(name, found) for found in find_videos(name)]
        elif os.path.isfile(name):
            paths.append(name)
        else:
            raise FileNotFoundError(f'--videos {name} is not there')
    return Files(f'{len(paths)} own videos', paths)


# -- ways to make clips -----------------------------------------------------


class EveryFrame(TRANSFORMS.get('amd_mm.VideoDecode')):
    """Decodes also the frames between those that were sampled."""

    def transform(self, results: dict) -> dict:
        wanted = results['frame_inds'].reshape(-1)
        first = wanted.min()
        results['frame_inds'] = np.arange(first, wanted.max() + 1)
        results = super().transform(results)
        results['imgs'] = [results['imgs'][i - first] for i in wanted]
        return results


class ResizeBeforeCrop(ResizeClip):
    """Resizes whole frames until the crop has its size, then crops."""

    def __init__(self, crop: MultiScaleCrop) -> None:
        super().__init__(crop.input_size, keep_ratio=False)
        self.crop = crop

    def transform(self, results: dict) -> dict:
        height, width = results['img_shape']
        frames = results.pop('imgs')
        left, top, right, bottom = self.crop(results)['crop_bbox']
        new_w, new_h = self.scale
        scale_x, scale_y = new_w / (right - left), new_h / (bottom - top)
        whole = self._resize_imgs(frames, round(width * scale_x),
                                  round(height * scale_y))
        x = min(round(left * scale_x), whole.shape[2] - new_w)
        y = min(round(top * scale_y), whole.shape[1] - new_h)
        results['imgs'] = whole[:, y:y + new_h, x:x + new_w]
        return results


class ResizeAsChannels(ResizeClip):
    """Resizes once, with all frames as channels of one picture."""

    def _resize_imgs(self, imgs: List[np.ndarray], new_w: int,
                     new_h: int) -> np.ndarray:
        picture = cv2.resize(np.concatenate(imgs, 2), (new_w, new_h))
        frames = picture.reshape(new_h, new_w, len(imgs), -1)
        return np.ascontiguousarray(frames.transpose(2, 0, 1, 3))


@lru_cache(maxsize=None)
def _config() -> Config:
    return Config.fromfile(_CONFIG)


def _pipeline() -> List[dict]:
    """The transforms of pre-training, to be changed at will."""
    return copy.deepcopy(_config().train_dataloader.dataset.pipeline)


COPIES = "frames copied, mmaction's Resize"
EVERY = 'every frame of the span kept'
RESIZE_FIRST = 'resize before crop'
CHANNELS = 'one resize, frames as channels'
THREADS = '2 decoding threads'
LEVERS = (COPIES, EVERY, RESIZE_FIRST, CHANNELS, THREADS)


class Lean:
    """The package's pipeline, perhaps with one thing done otherwise.

    Args:
        backend (str): Who decodes.
        views (int): Clips a decode.
        change (str): One of ``LEVERS``; empty for the pipeline as it is.
    """

    def __init__(self, backend: str, views: int = 4, change: str = '') -> None:
        self.decodes, self.clips_per_video = 1, views
        self.watch = Stopwatch()
        pipeline = _pipeline()
        pipeline[0].backend = backend
        pipeline[0].num_threads = 2 if change == THREADS else 1
        pipeline[-1].num_views = views
        inner = [dict(transform) for transform in pipeline[-1].transforms]
        if change == COPIES:
            inner[1]['type'] = 'mmaction.Resize'
        elif change == CHANNELS:
            inner[1] = ResizeAsChannels((224, 224), keep_ratio=False)
        elif change == RESIZE_FIRST:
            inner[:2] = [ResizeBeforeCrop(TRANSFORMS.build(inner[0]))]
        *first, repeated = [
            TRANSFORMS.build(
                dict(t, transforms=inner) if 'transforms' in t else t)
            for t in pipeline
        ]
        if change == EVERY:
            first[-1] = EveryFrame()
        self.first = [self.watch.timed(transform) for transform in first]
        # Only now: RepeatedViews has looked at what they are.
        chain = repeated.transforms
        chain.transforms = [self.watch.timed(t) for t in chain.transforms]
        self.repeated = repeated

    def clips(self, path: str, seed: int) -> List[dict]:
        """The packed views of one video, (1, C, T, H, W) uint8 each."""
        results: Any = dict(
            filename=path, modality='RGB', label=-1, start_index=0)
        with seeded_randomness(np.random.SeedSequence(seed)):
            for transform in self.first:
                results = transform(results)
            before = self.watch.total()
            started = time.process_time()
            packed = self.repeated(results)
            spent = time.process_time() - started
            # What the inner transforms have not counted themselves.
            self.watch.seconds[PACK] += spent - (self.watch.total() - before)
        return packed

    def batch(self, paths: Sequence[str], seed: int) -> Tensor:
        """(B, C, T, H, W), uint8."""
        samples = [self.clips(path, seed) for path in paths]
        with self.watch.on(COLLATE):
            return one_tensor_collate(samples)['inputs'][0]


class Public:
    """PIL and float32 in the worker, as the public loaders do it.

    Args:
        views (int): Clips a decode.
        decodes (int): Decodes a video: with one view each, as many clips.
    """

    def __init__(self, views: int = 4, decodes: int = 1) -> None:
        self.decodes, self.clips_per_video = decodes, views * decodes
        self.views = views
        self.watch = Stopwatch()
        pipeline = _pipeline()
        self.sample = TRANSFORMS.build(pipeline[1])
        self.crop = TRANSFORMS.build(pipeline[-1].transforms[0])

    def clips(self, path: str, seed: int) -> List[Tensor]:
        """Clips (C, T, H, W), normalised float32, of one decode."""
        with seeded_randomness(np.random.SeedSequence(seed)):
            with self.watch.on(OPEN):
                reader, length = self._open(path)
                results = self.sample(
                    dict(total_frames=length, start_index=0, avg_fps=30.))
            with self.watch.on(DECODE):
                frames = self._read(reader, results['frame_inds'])
            return [self._clip(frames) for _ in range(self.views)]

    def _open(self, path: str) -> tuple:
        try:
            import decord
        except ImportError:
            reader = open_video(path, available_backends()[0])
        else:
            reader = decord.VideoReader(path, num_threads=1)
        return reader, len(reader)

    def _read(self, reader: Any, indices: np.ndarray) -> Sequence[np.ndarray]:
        if hasattr(reader, 'get_batch'):
            return reader.get_batch(indices).asnumpy()
        with reader:
            return reader.read(indices)

    def _clip(self, frames: Sequence[np.ndarray]) -> Tensor:
        with self.watch.on(CROP):
            drawn = self.crop(dict(img_shape=frames[0].shape[:2]))
            pictures = [
                Image.fromarray(frame).crop(
                    drawn['crop_bbox'].tolist()).resize(
                        self.crop.input_size, Image.BILINEAR)
                for frame in frames
            ]
        with self.watch.on(PACK):
            clip = torch.from_numpy(np.stack([np.array(p) for p in pictures]))
            clip = clip.permute(3, 0, 1, 2).contiguous().float()
            clip -= torch.from_numpy(_MEAN).view(3, 1, 1, 1)
            clip /= torch.from_numpy(_STD).view(3, 1, 1, 1)
            return clip

    def batch(self, paths: Sequence[str], seed: int) -> Tensor:
        """(B, C, T, H, W), float32."""
        clips = [
            clip for path in paths for turn in range(self.decodes)
            for clip in self.clips(path, seed + turn)
        ]
        with self.watch.on(COLLATE):
            return torch.stack(clips)


class PerClip(Lean):
    """The package's pipeline with one decode for every clip."""

    def __init__(self, backend: str, decodes: int = 4) -> None:
        super().__init__(backend, views=1)
        self.decodes = self.clips_per_video = decodes

    def batch(self, paths: Sequence[str], seed: int) -> Tensor:
        samples = [
            self.clips(path, seed + turn) for path in paths
            for turn in range(self.decodes)
        ]
        with self.watch.on(COLLATE):
            return one_tensor_collate(samples)['inputs'][0]


class SmallDecord(Lean):
    """decord gives frames whose shorter side has 224 pixels.

    Not the same clips: they are resized twice.

    Args:
        size (Sequence[int]): Width and height of the videos.
    """

    def __init__(self, size: Sequence[int]) -> None:
        super().__init__('decord')
        self.size = [round(side * 224 / min(size)) for side in size]
        self.first[0] = self.watch.timed_as(OPEN, self._open)
        self.first[-1] = self.watch.timed_as(DECODE, self._read)

    def _open(self, results: dict) -> dict:
        import decord
        width, height = self.size
        reader = decord.VideoReader(
            results['filename'], width=width, height=height, num_threads=1)
        return dict(
            results,
            video_reader=reader,
            total_frames=len(reader),
            avg_fps=reader.get_avg_fps())

    def _read(self, results: dict) -> dict:
        reader = results.pop('video_reader')
        frames = list(reader.get_batch(results['frame_inds']).asnumpy())
        return dict(results, imgs=frames, img_shape=frames[0].shape[:2])


# -- comparing and measuring ------------------------------------------------


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
        largest=apart.max().item(), mean=apart.flatten(1).mean(1).max().item())


def _levels(clips: Tensor) -> Tensor:
    if clips.dtype == torch.uint8:
        return clips.float()
    shape = (3, 1, 1, 1)
    return clips * torch.from_numpy(_STD).view(shape) + torch.from_numpy(
        _MEAN).view(shape)


def compare(files: Files, rounding: bool, backends: Sequence[str],
            seeds: Sequence[int]) -> Dict[str, Dict[str, float]]:
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
    found = {name: dict(largest=0., mean=0.) for name in ways}
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
                    f'levels, above {limit}. Nothing was timed')
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
            part:
            1e3 * statistics.median(run['parts'][part] for run in runs) / clips
            for part in PARTS
        }
        reading = (parts[OPEN] + parts[DECODE]) * self.way.clips_per_video
        return dict(
            files=self.files.name,
            clips_per_s=[clips / run['cpu'] for run in runs],
            decodes_per_s=1e3 * self.way.decodes / reading,
            parts_ms=parts,
            wall_per_cpu=statistics.median(run['wall'] / run['cpu']
                                           for run in runs))


def take_turns(jobs: Dict[str, Job], repeats: int,
               warmup: int) -> Dict[str, dict]:
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
        note(f'turn {turn + 1} of {warmup + repeats}'
             f'{" (warm-up)" if turn < warmup else ""}')
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


def hand_over(collate: Callable, views: List[dict], batches: int,
              clips: int) -> Dict[str, float]:
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
        pin_memory=on_gpu)
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
        after.children_user + after.children_system - before.children_user -
        before.children_system)
    return dict(
        main=1e3 * main / batches,
        all=1e3 * (main + worker) / batches,
        wall=1e3 * wall / batches)


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
    handovers=(1, 8))


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
            **lean, PUBLIC: Job(Public(), base),
            PER_CLIP: Job(Public(1, _VIEWS), base),
            f'{PER_CLIP}, {first}': Job(PerClip(first, _VIEWS), base)
        },
        levers={
            first: lean[first],
            **{
                name: Job(Lean(first, change=name), base)
                for name in LEVERS
            }
        },
        views={
            f'{name}, {count}':
            lean[name] if count == _VIEWS else Job(Lean(name, count), base)
            for name in plan.backends
            for count in plan.views
        },
        files={
            f'{files.name}, {name}': Job(way, files)
            for files in kinds
            for name, way in [
                *((name, Lean(name))
                  for name in plan.backends), (PUBLIC, Public())
            ]
        })
    if 'decord' in plan.backends:
        with open_video(base.paths[0], 'decord') as reader:
            height, width = reader.read([0])[0].shape[:2]
        tables['levers']['decord'] = lean['decord']
        tables['levers']['decord decodes small (other clips)'] = Job(
            SmallDecord((width, height)), base)
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
        f'small, {small.name}':
        compare(small, True, plan.backends, range(plan.draws)),
        kinds[0].name:
        compare(kinds[0], False, plan.backends, range(plan.draws))
    }
    tables = make_jobs(plan, kinds)
    # A job that is in several tables is timed once.
    distinct = {id(job): job for rows in tables.values()
                for job in rows.values()}  # yapf: disable
    figures = take_turns(distinct, plan.repeats, plan.warmup)
    views = Lean(plan.backends[0]).clips(kinds[0].paths[0], 0)
    return dict(
        equality=equality,
        files={files.name: _facts(files)
               for files in kinds},
        tables={
            name: {
                row: figures[id(job)]
                for row, job in rows.items()
            }
            for name, rows in tables.items()
        },
        handover={
            name: hand_over(collate, views, *plan.handovers)
            for name, collate in (('list of clips', flatten_views_collate),
                                  ('one tensor', one_tensor_collate))
        })


def _facts(files: Files) -> Dict[str, float]:
    sizes = [os.path.getsize(path) for path in files.paths]
    return dict(videos=len(sizes), mean_kib=statistics.mean(sizes) / 1024)


def report(found: dict, clips_per_second: Optional[float]) -> str:
    """The tables."""
    # By files: of equal files only is the ratio one of two ways.
    public = {
        figure['files']: statistics.median(figure['clips_per_s'])
        for rows in found['tables'].values()
        for row, figure in rows.items() if row.split(', ')[-1] == PUBLIC
    }
    parts = []
    for name, rows in found['tables'].items():
        head = [
            name, 'clips/s a core, median (range)', f'x {PUBLIC}',
            'decodes/s a core'
        ] + [f'ms a clip: {p}' for p in PARTS]
        head += ['cores a GPU'] if clips_per_second else []
        lines = [head]
        for row, figure in rows.items():
            speed = statistics.median(figure['clips_per_s'])
            line = [
                row,
                middle_and_spread(figure['clips_per_s'],
                                  1), f'{speed / public[figure["files"]]:.2f}',
                f'{figure["decodes_per_s"]:.1f}'
            ]
            line += [f'{figure["parts_ms"][part]:.2f}' for part in PARTS]
            if clips_per_second:
                line.append(f'{math.ceil(clips_per_second / speed)}')
            lines.append(line)
        parts.append(table(lines))
    lines = [[
        'a batch to the device', 'ms of CPU, training process',
        'with the worker', 'ms'
    ]]
    for name, row in found['handover'].items():
        lines.append([name] +
                     [f'{row[key]:.0f}' for key in ('main', 'all', 'wall')])
    return '\n\n'.join(parts + [table(lines)])


def parse_args(arguments: Optional[List[str]] = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        '--videos',
        nargs='+',
        default=[],
        metavar='PATH',
        help='files or folders, instead of videos made here')
    known = [
        name for name in ('pyav', 'decord', 'torchcodec', 'opencv')
        if name in available_backends()
    ]
    parser.add_argument(
        '--backends',
        nargs='+',
        choices=known,
        default=known,
        help='the first one is varied (default: %(default)s)')
    parser.add_argument(
        '--views',
        nargs='+',
        type=positive,
        default=[1, 2, 4, 8],
        help='clips a decode (default: 1 2 4 8)')
    parser.add_argument(
        '--sizes',
        nargs='+',
        type=_size,
        default=[(340, 256), (1280, 720)],
        metavar='WIDTHxHEIGHT',
        help='(default: 340x256 1280x720)')
    parser.add_argument(
        '--keyframes',
        nargs='+',
        type=positive,
        default=[12, 48, 250],
        help='frames from one to the next (default: 12 48 250)')
    parser.add_argument(
        '--frames',
        type=positive,
        default=300,
        help='of a video (default: 300)')
    parser.add_argument(
        '--count',
        type=positive,
        default=4,
        help='videos of each kind (default: 4)')
    parser.add_argument(
        '--repeats',
        type=positive,
        default=7,
        help='timed turns of each (default: 7)')
    parser.add_argument(
        '--warmup',
        type=positive,
        default=1,
        help='turns before that (default: 1)')
    parser.add_argument(
        '--clips-per-second',
        type=float,
        metavar='N',
        help='what a GPU trains on (pretrain_step.py measures it): says how '
        'many cores feed it')
    parser.add_argument(
        '--quick', action='store_true', help='tiny and rough: to try it out')
    parser.add_argument(
        '--json', type=Path, help='write all figures to this file too')
    return parser.parse_args(arguments)


def _size(text: str) -> tuple:
    sides = text.split('x')
    if len(sides) != 2 or not all(
            s.isdecimal() and int(s) > 1 and int(s) % 2 == 0 for s in sides):
        raise argparse.ArgumentTypeError(
            f'{text!r} is no size: two even numbers, as 340x256')
    return int(sides[0]), int(sides[1])


def plan_of(args: argparse.Namespace) -> Plan:
    """What the command line asks for."""
    if args.quick:
        return Plan(backends=args.backends, **QUICK)
    return Plan(args.backends, args.views, args.sizes, args.keyframes,
                args.frames, args.count, 4, args.repeats, args.warmup,
                (10, 64))


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
    print(f'{_VIEWS} clips a decode where not said otherwise, '
          f'{plan.repeats} turns each, '
          f'{"on one core" if pinned else "not held to one core"}')
    print(', '.join(f'{name}: {value}' for name, value in facts.items()))
    for kind, rows in found['equality'].items():
        print(f'{kind}: largest and mean difference in levels of 255 from '
              f'{plan.backends[0]}: ' +
              ', '.join(f'{name} {row["largest"]:.0f} and {row["mean"]:.2f}'
                        for name, row in rows.items()))
    print('files: ' + '; '.join(f'{name}: {facts["mean_kib"]:.0f} KiB each'
                                for name, facts in found['files'].items()))
    print()
    print(report(found, args.clips_per_second))
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(
            json.dumps(
                dict(machine=facts, backends=plan.backends, **found),
                indent=2))


if __name__ == '__main__':
    main()
