"""Choosing the frames of a clip."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from amd_mm.errors import VideoError
from amd_mm.registry import TRANSFORMS
from mmcv.transforms import BaseTransform

from ..video_reader import UnreadableVideoError


@TRANSFORMS.register_module()
class SparseSampleFrames(BaseTransform):
    """Sparse sampling: one frame from each of ``clip_len`` equal segments of the video.

    In training, a clip has one random frame of each segment. In testing, all frames of a clip are
    at the same place of their segments: the first clip has the middles, and the others are spread
    evenly from there, so that the second of two clips has the starts. (``mmaction.UniformSample``
    differs.) In a video with fewer frames than segments, frames are repeated and not random.

    Required keys: ``total_frames``, ``start_index``. Added keys: ``frame_inds`` (int32, num_clips
    * clip_len, clip by clip, ascending in each), ``clip_len``, ``num_clips``, and
    ``frame_interval``, which is None.

    Source: Temporal Segment Networks, https://arxiv.org/abs/1608.00859; the test clips are those
    of VideoMAE's public recipe for Something-Something v2.

    Raises:
        ValueError: ``clip_len`` or ``num_clips`` is below 1.
    """

    def __init__(self, clip_len: int = 16, num_clips: int = 1, test_mode: bool = False) -> None:
        if clip_len < 1 or num_clips < 1:
            raise ValueError(
                f'clip_len and num_clips must be at least 1, got {clip_len} and {num_clips}'
            )
        self.clip_len = clip_len
        self.num_clips = num_clips
        self.test_mode = test_mode

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Choose the frames.

        Raises:
            KeyError: the number of frames is not known yet.
            UnreadableVideoError: the video has no frames.
        """
        if 'total_frames' not in results:
            raise KeyError(
                "SparseSampleFrames needs 'total_frames': list it after amd_mm.VideoInit; for raw "
                'frames the list file has the number'
            )
        total = int(results['total_frames'])
        if total < 1:
            name = results.get('filename') or results.get('frame_dir') or ''
            raise UnreadableVideoError(name, f'it has {total} frames')
        fixed = self.test_mode or total < self.clip_len
        clips = self._fixed_clips(total) if fixed else self._random_clips(total)
        frames = clips.reshape(-1) + results['start_index']  # (num_clips * clip_len, )
        results['frame_inds'] = frames.astype(np.int32)
        results['clip_len'] = self.clip_len
        results['frame_interval'] = None
        results['num_clips'] = self.num_clips
        return results

    def _random_clips(self, total: int) -> np.ndarray:
        edges = np.arange(self.clip_len + 1) * total // self.clip_len
        return np.random.randint(edges[:-1], edges[1:], size=(self.num_clips, self.clip_len))

    def _fixed_clips(self, total: int) -> np.ndarray:
        unit = 2 * self.num_clips  # places are whole numbers of 1 / unit of a segment
        places = np.full(self.num_clips, self.num_clips)
        if self.test_mode:
            places = (places + 2 * np.arange(self.num_clips)) % unit
        positions = np.arange(self.clip_len) * unit + places[:, None]  # (num_clips, clip_len)
        return positions * total // (unit * self.clip_len)


@TRANSFORMS.register_module()
class SampleFramesAtRate(BaseTransform):
    """Sample clips of so many frames per second, whatever the frame rate of the video is.

    In training, the time that a clip may begin at is divided into ``num_clips`` equal parts, and
    each clip begins at a random time of its part. In testing, the clips are evenly spaced from the
    first frame to the last; a single clip is from the middle. Each frame is the nearest one in
    time, also if the frame rate varies. Frames are repeated if the video has fewer per second, and
    the last one at the end of a video that is shorter than a clip.

    Required keys: ``video_reader`` and ``total_frames`` (from :class:`VideoInit`), ``start_index``.
    Added keys: ``frame_inds`` (int32, num_clips * clip_len), ``clip_len``, ``num_clips``, and
    ``frame_interval``, which is None.

    Args:
        fps: frames per second of a clip.
        clip_len: frames of a clip.
        num_clips: clips per video.
        test_mode: see above.

    Raises:
        ValueError: a number is not positive.
    """

    def __init__(
        self, fps: float, clip_len: int = 16, num_clips: int = 1, test_mode: bool = False
    ) -> None:
        if fps <= 0 or clip_len < 1 or num_clips < 1:
            raise ValueError(
                'fps, clip_len and num_clips must be positive, got '
                f'{fps}, {clip_len} and {num_clips}'
            )
        self.fps = fps
        self.clip_len = clip_len
        self.num_clips = num_clips
        self.test_mode = test_mode

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Choose the frames.

        Raises:
            KeyError: the video is not open.
            UnreadableVideoError: the video has no frame rate.
            VideoError: the frames are an array.
        """
        if 'video_reader' not in results:
            raise KeyError(
                "SampleFramesAtRate needs the times of frames from 'video_reader': list it after "
                'amd_mm.VideoInit. Raw frames have no times'
            )
        reader, first = results['video_reader'], results['start_index']
        if results['total_frames'] > 1 and not reader.has_times:
            raise VideoError(
                f'the model takes {self.fps:g} frames a second, and {reader.path} has no times: '
                'give a video file, or sampling=ClipSampling(...) with a stride'
            )
        last = first + results['total_frames'] - 1
        begin, end = reader.times[[first, last]]
        latest = max(end - (self.clip_len - 1) / self.fps - begin, 0)  # start of a clip
        starts = begin + latest * self._places()
        seconds = starts[:, None] + np.arange(self.clip_len) / self.fps  # (num_clips, clip_len)
        frames = reader.positions_at(seconds).clip(first, last).reshape(-1)
        results['frame_inds'] = frames.astype(np.int32)
        results['clip_len'] = self.clip_len
        results['frame_interval'] = None
        results['num_clips'] = self.num_clips
        return results

    def _places(self) -> np.ndarray:
        """Where clips begin (num_clips, ), from 0 (first frame) to 1 (the last possible time)."""
        if not self.test_mode:
            return (np.arange(self.num_clips) + np.random.rand(self.num_clips)) / self.num_clips
        return np.linspace(0, 1, self.num_clips) if self.num_clips > 1 else np.array([0.5])


@dataclass(frozen=True)
class PerSecond:
    """Frames of a clip by time, in the place of a stride."""

    fps: float

    def __post_init__(self) -> None:
        if not self.fps > 0:
            raise ValueError(f'fps must be positive, got {self.fps}')

    def __str__(self) -> str:
        return f'{self.fps:g} a second'

    @classmethod
    def rate(cls, text: str) -> 'PerSecond':
        """From the text of an option."""
        return cls(float(text))


Stride = int | PerSecond | None
"""From one frame of a clip to the next; None takes one frame from each equal part of a video."""


def clips_for_testing(frames: int, stride: Stride, clips: int = 1) -> dict[str, Any]:
    """The config of the transform that samples clips for testing.

    Args:
        frames: frames of a clip.
        stride: frames from one frame of a clip to the next; the last frame of a short video is
            repeated. None: sparse sampling, one frame from each equal part of the video. A rate
            in frames per second needs a video file.
        clips: clips per video, evenly spaced; a single clip is from the middle.
    """
    sampling = dict(clip_len=frames, num_clips=clips, test_mode=True)
    if stride is None:
        return dict(type='amd_mm.SparseSampleFrames', **sampling)
    if isinstance(stride, PerSecond):
        return dict(type='amd_mm.SampleFramesAtRate', fps=stride.fps, **sampling)
    return dict(
        type='mmaction.SampleFrames',
        frame_interval=stride,
        out_of_bound_opt='repeat_last',
        **sampling,
    )
