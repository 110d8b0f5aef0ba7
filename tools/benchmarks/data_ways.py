"""Ways to make clips for pre-training out of videos, to be compared."""

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import amd_mm  # noqa: F401, its import-time fixes serve what follows
import cv2
import numpy as np
import torch
from amd_mm.datasets import available_backends, one_tensor_collate, open_video, seeded_randomness
from amd_mm.datasets.transforms import ResizeClip
from amd_mm.registry import TRANSFORMS
from mmaction.datasets.transforms import MultiScaleCrop
from mmengine.config import Config
from PIL import Image
from torch import Tensor

_CONFIG = Path(__file__).resolve().parents[2] / 'configs' / '_base_' / 'datasets' / 'k400.py'
OPEN, DECODE, CROP, PACK, COLLATE = PARTS = (
    'open',
    'seek + decode',
    'crop + resize',
    'pack',
    'collate',
)
_PART_OF = dict(
    VideoInit=OPEN,
    SampleFrames=OPEN,
    VideoDecode=DECODE,
    MultiScaleCrop=CROP,
    Resize=CROP,
    ResizeClip=CROP,
    EveryFrame=DECODE,
    ResizeAsChannels=CROP,
    ResizeBeforeCrop=CROP,
)
MEAN = np.array([123.675, 116.28, 103.53], np.float32)
STD = np.array([58.395, 57.12, 57.375], np.float32)
PUBLIC, PER_CLIP = 'public', 'per clip'
VIEWS = 4  # as published


class Stopwatch:
    """CPU seconds of this process by part of the pipeline."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(PARTS, 0.0)

    def clear(self) -> None:
        """Begin anew."""
        self.seconds.update(dict.fromkeys(PARTS, 0.0))

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


class EveryFrame(TRANSFORMS.get('amd_mm.VideoDecode')):
    """Decodes also the frames between those that were sampled."""

    def transform(self, results: dict) -> dict:
        """Decode from the first to the last, and keep the sampled ones."""
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
        """Resize ``imgs`` and cut the crop out: (T, H, W, 3), uint8."""
        height, width = results['img_shape']
        frames = results.pop('imgs')
        left, top, right, bottom = self.crop(results)['crop_bbox']
        new_w, new_h = self.scale
        scale_x, scale_y = new_w / (right - left), new_h / (bottom - top)
        whole = self._resize_imgs(frames, round(width * scale_x), round(height * scale_y))
        x = min(round(left * scale_x), whole.shape[2] - new_w)
        y = min(round(top * scale_y), whole.shape[1] - new_h)
        results['imgs'] = whole[:, y : y + new_h, x : x + new_w]
        return results


class ResizeAsChannels(ResizeClip):
    """Resizes once, with all frames as channels of one picture."""

    def _resize_imgs(self, imgs: list[np.ndarray], new_w: int, new_h: int) -> np.ndarray:
        picture = cv2.resize(np.concatenate(imgs, 2), (new_w, new_h))
        frames = picture.reshape(new_h, new_w, len(imgs), -1)
        return np.ascontiguousarray(frames.transpose(2, 0, 1, 3))


@cache
def _config() -> Config:
    return Config.fromfile(_CONFIG)


def _pipeline() -> list[dict]:
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
            TRANSFORMS.build(dict(t, transforms=inner) if 'transforms' in t else t)
            for t in pipeline
        ]
        if change == EVERY:
            first[-1] = EveryFrame()
        self.first = [self.watch.timed(transform) for transform in first]
        # Only now: RepeatedViews has looked at what they are.
        chain = repeated.transforms
        chain.transforms = [self.watch.timed(t) for t in chain.transforms]
        self.repeated = repeated

    def clips(self, path: str, seed: int) -> list[dict]:
        """The packed views of one video, (1, C, T, H, W) uint8 each."""
        results: Any = dict(filename=path, modality='RGB', label=-1, start_index=0)
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

    def clips(self, path: str, seed: int) -> list[Tensor]:
        """Clips (C, T, H, W), normalised float32, of one decode."""
        with seeded_randomness(np.random.SeedSequence(seed)):
            with self.watch.on(OPEN):
                reader, length = self._open(path)
                results = self.sample(dict(total_frames=length, start_index=0, avg_fps=30.0))
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
                Image.fromarray(frame)
                .crop(drawn['crop_bbox'].tolist())
                .resize(self.crop.input_size, Image.BILINEAR)
                for frame in frames
            ]
        with self.watch.on(PACK):
            clip = torch.from_numpy(np.stack([np.array(p) for p in pictures]))
            clip = clip.permute(3, 0, 1, 2).contiguous().float()
            clip -= torch.from_numpy(MEAN).view(3, 1, 1, 1)
            clip /= torch.from_numpy(STD).view(3, 1, 1, 1)
            return clip

    def batch(self, paths: Sequence[str], seed: int) -> Tensor:
        """(B, C, T, H, W), float32."""
        clips = [
            clip
            for path in paths
            for turn in range(self.decodes)
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
        """Clips of some videos, (videos * decodes, C, T, H, W), uint8."""
        samples = [self.clips(path, seed + turn) for path in paths for turn in range(self.decodes)]
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
        reader = decord.VideoReader(results['filename'], width=width, height=height, num_threads=1)
        return dict(
            results, video_reader=reader, total_frames=len(reader), avg_fps=reader.get_avg_fps()
        )

    def _read(self, results: dict) -> dict:
        reader = results.pop('video_reader')
        frames = list(reader.get_batch(results['frame_inds']).asnumpy())
        return dict(results, imgs=frames, img_shape=frames[0].shape[:2])
