"""Test pipelines: prepare one video, image or array for a trained model."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from amd_mm.errors import ConfigError, VideoError
from amd_mm.registry import type_name
from mmengine.config import Config
from mmengine.dataset import Compose
from PIL import Image
from torch import Tensor

from .files import IMAGE_EXTENSIONS
from .transforms import PerSecond, Stride, clips_for_testing
from .video_reader import VideoReader, open_video

Pixels = str | os.PathLike | np.ndarray
"""A file, or RGB uint8 values: (T, H, W, 3) for a video, (H, W, 3) for an image."""


class Clips(NamedTuple):
    """Some clips of a video.

    Attributes:
        pixels: (N * views, 3, T, H, W), uint8, RGB; the views of a clip, such as three crops, are
            neighbours.
        times: (N, 2), start and end of each clip in seconds; NaN if the file has no frame rate. In
            an array they count frames.
    """

    pixels: Tensor
    times: np.ndarray


@dataclass(frozen=True)
class ClipSampling:
    """The frames of a video that a model sees.

    Args:
        frames: frames of a clip.
        stride: frames from one frame of a clip to the next; ``PerSecond(8)`` takes 8 frames a
            second. None divides the video into equal parts and takes one frame from each.
        clips: clips per video, evenly spaced; a single clip is from the middle.
        size: the shorter side is resized to this many pixels, then a centre square is cropped. Or
            (height, width): the whole frame is resized to it.
    """

    frames: int = 16
    stride: Stride = 4
    clips: int = 1
    size: int | tuple[int, int] = 224

    def pipeline(self, backend: str = 'pyav') -> list[Mapping[str, Any]]:
        """Transforms from a file name to ``inputs`` (clips, C, frames, H, W), uint8, RGB."""
        return [
            dict(type='amd_mm.VideoInit', backend=backend),
            clips_for_testing(self.frames, self.stride, self.clips),
            dict(type='amd_mm.VideoDecode'),
            *self.frame_steps(),
            dict(type='mmaction.FormatShape', input_format='NCTHW'),
            dict(type='mmaction.PackActionInputs'),
        ]

    def frame_steps(self) -> list[Mapping[str, Any]]:
        """The transforms of each frame: resize and crop."""
        if not isinstance(self.size, int):
            return [dict(type='mmaction.Resize', scale=self.size[::-1], keep_ratio=False)]
        return [
            dict(type='mmaction.Resize', scale=(-1, self.size)),
            dict(type='mmaction.CenterCrop', crop_size=self.size),
        ]

    def positions(self, reader: VideoReader) -> tuple[np.ndarray, np.ndarray]:
        """Frames (N, T) of each clip, and its start and end in seconds (N, 2)."""
        sampler = Compose([clips_for_testing(self.frames, self.stride, self.clips)])
        video = dict(
            total_frames=len(reader), start_index=0, avg_fps=reader.avg_fps, video_reader=reader
        )
        clips = sampler(video)['frame_inds'].reshape(self.clips, self.frames)
        return clips, _times(reader)[np.stack([clips.min(1), clips.max(1) + 1], 1)]

    def read(self, source: Pixels, backend: str = 'pyav', batch_size: int = 8) -> Iterator[Clips]:
        """The clips of a video, a few at a time: memory does not grow with their number.

        Each frame is decoded once, cropped at once, and kept until no clip needs it. The values are
        those of a test pipeline with the same transforms.

        Args:
            source: a video file, or frames (T, H, W, 3), uint8, RGB.
            backend: see :func:`amd_mm.datasets.open_video`.
            batch_size: the largest number of clips at a time.

        Raises:
            UnreadableVideoError: the video cannot be opened or decoded.
        """
        prepare = Compose(self.frame_steps())
        reader: VideoReader
        if isinstance(source, np.ndarray):
            reader = ArrayReader(source)
        else:
            reader = open_video(os.fspath(source), backend)
        with reader:
            clips, times = self.positions(reader)  # (N, T), (N, 2)
            decoded = reader.stream(np.unique(clips))
            # the earliest frame that this clip or a later one needs
            needed = np.minimum.accumulate(clips.min(1)[::-1])[::-1]
            kept: dict[int, list[np.ndarray]] = {}
            for start in range(0, len(clips), batch_size):
                wanted = clips[start : start + batch_size]
                while max(kept, default=-1) < wanted.max():
                    position, frame = next(decoded)
                    kept[position] = prepare(dict(imgs=[frame], img_shape=frame.shape[:2]))['imgs']
                pixels = np.stack(
                    [
                        np.stack(view)  # (T, H, W, 3)
                        for clip in wanted
                        for view in zip(*(kept[position] for position in clip))
                    ]
                )
                yield Clips(
                    torch.from_numpy(pixels).permute(0, 4, 1, 2, 3).contiguous(),
                    times[start : start + batch_size],
                )
                following = start + batch_size
                first = needed[following] if following < len(clips) else len(reader)
                kept = {position: views for position, views in kept.items() if position >= first}


@dataclass(frozen=True)
class WindowSampling(ClipSampling):
    """Windows along a video of any length, each seen as one clip.

    The frames of a clip are the first of equal parts of its window: in a window of ``frames *
    stride`` frames they are ``stride`` apart. The last window ends with the video. A video shorter
    than a window is one window, whose last frame is repeated.

    Args:
        frames: frames of a clip.
        stride: None takes the middle of each part, as sparse sampling does; other values do not
            matter.
        size: see :class:`ClipSampling`.
        window: length of a window, in frames (``64``) or seconds (``'2.5s'``).
        step: from one window to the next, in the same unit; None is the length of a window.
        steps: the transforms of each frame; by default those of :class:`ClipSampling`.

    Raises:
        ConfigError: a length is not positive, or the units differ.
    """

    window: int | str = 64
    step: int | str | None = None
    steps: tuple[Mapping[str, Any], ...] | None = None

    def __post_init__(self) -> None:
        self.lengths()

    def lengths(self) -> tuple[float, float, bool]:
        """Length of a window, the step, and whether they are seconds."""
        step = self.window if self.step is None else self.step
        found = []
        for name, value in (('window', self.window), ('step', step)):
            text = str(value)
            try:
                number = float(text.removesuffix('s')) if text.endswith('s') else int(text)
            except ValueError:
                number = 0
            if not number > 0:
                raise ConfigError(
                    f'{name}={value!r}: give a number of frames such as 64, or seconds such as '
                    "'2.5s'"
                )
            found.append((number, text.endswith('s')))
        if found[0][1] != found[1][1]:
            raise ConfigError(
                f'window={self.window!r} and step={step!r}: give both in frames or both in seconds'
            )
        return found[0][0], found[1][0], found[0][1]

    def pipeline(self, backend: str = 'pyav') -> list[Mapping[str, Any]]:
        """Not available: the number of windows depends on the video."""
        raise ConfigError('windows have no test pipeline: use WindowSampling.read')

    def frame_steps(self) -> list[Mapping[str, Any]]:
        """The transforms of each frame."""
        return super().frame_steps() if self.steps is None else list(self.steps)

    def positions(self, reader: VideoReader) -> tuple[np.ndarray, np.ndarray]:
        """Frames (N, T) of each window, and its start and end in seconds (N, 2)."""
        window, step, seconds = self.lengths()
        total = reader.duration if seconds else len(reader)
        last = max(total - window, 0)
        starts = np.arange(int((last + 1e-6) // step) + 1) * step
        if last - starts[-1] > 1e-6:
            starts = np.append(starts, last)
        parts = np.arange(self.frames) + (0.5 if self.stride is None else 0)
        places = starts[:, None] + parts * (window / self.frames)  # (N, T)
        ends = np.minimum(np.stack([starts, starts + window], 1), total)
        if seconds:
            return reader.positions_at(places), ends
        whole = (places + 1e-6).astype(np.int64)  # a little more, against rounding
        return np.minimum(whole, len(reader) - 1), _times(reader)[ends]


class ArrayReader(VideoReader):
    """Frames (T, H, W, 3) of an array, as a reader gives those of a file; one a second."""

    has_times = False

    def __init__(self, frames: np.ndarray) -> None:
        self.path = 'the array'
        self.frames = frames
        self.length = len(frames)
        self.avg_fps = 1.0

    def _open(self, library: Any) -> None:
        """Nothing to open."""

    def _decode(self, indices: list[int]) -> Iterator[np.ndarray]:
        return iter(self.frames[indices])

    def close(self) -> None:
        """Nothing to close."""


def _times(reader: VideoReader) -> np.ndarray:
    """Start of each frame, and the end of the last one (length + 1, ), in seconds."""
    if reader.avg_fps <= 0:
        return np.full(len(reader) + 1, np.nan)
    return np.append(reader.times, reader.duration)


def input_size(backbone: Any) -> int | tuple[int, int]:
    """Pixels that a backbone was trained with: the side of a square, or height and width."""
    (_, rows, columns), (_, height, width) = backbone.token_grid, backbone.patch_shape
    size = rows * height, columns * width
    return size[0] if size[0] == size[1] else size


def stride_of(cfg: Config, default: Stride = 4) -> Stride:
    """The frame stride or rate of a config, from testing if possible; None: sparse sampling."""
    loaders = [cfg.get(f'{part}_dataloader') or {} for part in ('val', 'test', 'train')]
    pipelines = [loader.get('dataset', {}).get('pipeline', []) for loader in loaders]
    for pipeline in [*pipelines, cfg.get('test_pipeline') or []]:  # the last: of a model folder
        for transform in pipeline:
            name = type_name(transform)
            if name == 'SparseSampleFrames':
                return None
            if name == 'SampleFramesAtRate':
                return PerSecond(transform['fps'])
            if name.endswith('SampleFrames') and 'frame_interval' in transform:
                return transform['frame_interval']
    return default


def find_pipeline(cfg: Config, backbone: Any) -> Sequence[Mapping[str, Any]]:
    """The test pipeline of a config; if it has none, one for the input size of the backbone."""
    for part in ('test', 'val'):
        loader = cfg.get(f'{part}_dataloader') or {}
        if pipeline := loader.get('dataset', {}).get('pipeline'):
            return pipeline
    if cfg.get('test_pipeline'):
        return cfg.test_pipeline
    size = input_size(backbone)
    if backbone.input_dims == 5:
        frames = backbone.token_grid[0] * backbone.patch_shape[0]
        return ClipSampling(frames, stride_of(cfg), size=size).pipeline()
    if isinstance(size, int):
        resizing = [
            dict(type='mmpretrain.ResizeEdge', scale=size, edge='short', backend='pillow'),
            dict(type='mmpretrain.CenterCrop', crop_size=size),
        ]
    else:
        resizing = [dict(type='mmpretrain.Resize', scale=size, backend='pillow')]
    return [dict(type='amd_mm.LoadImage'), *resizing, dict(type='mmpretrain.PackInputs')]


def read_sample(
    pipeline: Sequence[Mapping[str, Any]], source: Pixels, backend: str | None = None
) -> dict[str, Any]:
    """Run a test pipeline on a file or an array.

    Args:
        pipeline: for videos, raw frames or images. A video model takes an image as a video of one
            frame; an image model takes the middle frame of a video.
        source: see :data:`Pixels`.
        backend: the video reader, see :func:`amd_mm.datasets.open_video`; by default that of the
            pipeline.

    Returns:
        The packed sample: ``inputs`` (views, C, T, H, W) or (C, H, W), and ``data_samples``.

    Raises:
        VideoError: the input does not exist or cannot be read.
    """
    takes_video = any(type_name(step).endswith('Decode') for step in pipeline)
    video: dict[str, Any] = dict(start_index=0, modality='RGB', label=-1)
    if not isinstance(source, np.ndarray):
        path = os.fspath(source)
        if not os.path.isfile(path):
            raise VideoError(f'there is no video or image {path}')
        if takes_video and not is_image(path):
            return Compose(video_steps(pipeline, backend))(dict(video, filename=path))
        if is_image(path) and not takes_video:
            return Compose(pipeline)(dict(img_path=path))
        source = _read_image(path) if is_image(path) else _middle_frame(path, backend)
    if takes_video:
        frames = source if source.ndim == 4 else source[None]  # (T, H, W, 3)
        steps = video_steps(pipeline, 'array')
        video.update(total_frames=len(frames), video_reader=ArrayReader(frames))
        return Compose(steps)(dict(video, array=frames))
    image = source if source.ndim == 3 else source[len(source) // 2]  # (H, W, 3)
    bgr = np.ascontiguousarray(image[..., ::-1])  # as LoadImage reads it
    steps = [step for step in pipeline if not type_name(step).startswith('LoadImage')]
    return Compose(steps)(dict(img=bgr, img_shape=bgr.shape[:2], ori_shape=bgr.shape[:2]))


def read_clips(
    backbone: Any, paths: Sequence[str], stride: Stride = 4, backend: str = 'pyav'
) -> Tensor:
    """Read the middle clip of videos or images, as testing does, in the size of a backbone.

    An image becomes a clip that repeats it; an image model gets the middle frame of a video.

    Args:
        backbone: a ViT of this package.
        paths: videos and images.
        stride: from one frame to the next; None takes one frame from each equal part of a video.
        backend: video reader, see :func:`amd_mm.datasets.open_video`.

    Returns:
        (B, 3, T, H, W), or (B, 3, H, W) for an image model; uint8, RGB.

    Raises:
        VideoError: if a file cannot be read.
    """
    frames = backbone.token_grid[0] * backbone.patch_shape[0]
    pipeline = ClipSampling(frames, stride, size=input_size(backbone)).pipeline(backend)
    clips = torch.cat([read_sample(pipeline, path)['inputs'] for path in paths])  # (B, 3, T, H, W)
    return clips if backbone.input_dims == 5 else clips[:, :, 0]


def video_steps(
    pipeline: Sequence[Mapping[str, Any]], backend: str | None = None
) -> list[Mapping[str, Any]]:
    """Adapt a test pipeline of videos or raw frames to video files, or arrays (``'array'``).

    Raises:
        ConfigError: it has no sampler or no decoder.
    """
    decoders = [at for at, step in enumerate(pipeline) if type_name(step).endswith('Decode')]
    if not decoders or decoders[0] == 0:
        raise ConfigError(
            'a test pipeline needs a sampler and a decoder; this one has '
            + ', '.join(map(type_name, pipeline))
        )
    start = [step for step in pipeline[: decoders[0]] if not type_name(step).endswith('Init')]
    rest = pipeline[decoders[-1] + 1 :]
    if backend == 'array':
        return [*start, dict(type='mmaction.ArrayDecode'), *rest]
    opener = next(
        (dict(step) for step in pipeline if type_name(step) == 'VideoInit'),
        dict(type='amd_mm.VideoInit'),
    )
    if backend is not None:
        opener['backend'] = backend
    return [opener, *start, dict(type='amd_mm.VideoDecode'), *rest]


def frame_steps(pipeline: Sequence[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    """The transforms of a test pipeline between decoding and formatting: resize and crop."""
    steps = video_steps(pipeline)
    decode = next(at for at, step in enumerate(steps) if type_name(step) == 'VideoDecode')
    rest = steps[decode + 1 :]
    end = next((at for at, one in enumerate(rest) if type_name(one) == 'FormatShape'), len(rest))
    return tuple(rest[:end])


def is_image(path: str | os.PathLike) -> bool:
    """Whether a file is an image, by its ending."""
    return os.fspath(path).lower().endswith(IMAGE_EXTENSIONS)


def _read_image(path: str) -> np.ndarray:
    try:
        with Image.open(path) as file:
            return np.array(file.convert('RGB'))
    except (OSError, ValueError) as error:
        raise VideoError(f'cannot read {path}: {type(error).__name__}') from None


def _middle_frame(path: str, backend: str | None) -> np.ndarray:
    with open_video(path, backend or 'pyav') as reader:
        return np.asarray(reader.read([len(reader) // 2])[0])
