"""Which frames of a video make a clip."""

from typing import Any

import numpy as np
from amd_mm.registry import TRANSFORMS
from mmcv.transforms import BaseTransform

from ..video_reader import UnreadableVideoError


@TRANSFORMS.register_module()
class SparseSampleFrames(BaseTransform):
    """Sparse sampling: one frame from each equal segment of the whole video.

    A video of N frames is cut into ``clip_len`` segments of N / clip_len
    frames, whatever its length. In training, each clip has one random frame
    of every segment. In testing, all frames of a clip stand at the same
    place of their segments: the middle for the first clip; the places of
    further clips are spread evenly from there, so that the second of two
    clips has the starts. (``mmaction.UniformSample`` does otherwise.)

    Of a video with fewer frames than segments, frames are repeated, and
    nothing is random. It works for videos and for raw frames, in the place
    of ``mmaction.SampleFrames``.

    Required keys: ``total_frames``, ``start_index``. Added keys:
    ``frame_inds`` (int32, ``num_clips * clip_len`` numbers, clip by clip,
    each clip ascending), ``clip_len``, ``num_clips``, and ``frame_interval``,
    which is None: there is no one interval.

    Source: Temporal Segment Networks, https://arxiv.org/abs/1608.00859; the
    test clips are those of VideoMAE's public recipe for
    Something-Something v2.

    Args:
        clip_len (int): Frames per clip. Defaults to 16.
        num_clips (int): Clips per video. Defaults to 1.
        test_mode (bool): Fixed places instead of random ones. Defaults to
            False.

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

        Args:
            results (dict): With ``total_frames`` and ``start_index``.

        Returns:
            dict: The same, with ``frame_inds`` and what describes them.

        Raises:
            KeyError: The number of frames is not known yet.
            UnreadableVideoError: The video has no frames.
        """
        if 'total_frames' not in results:
            raise KeyError(
                "SparseSampleFrames does not know 'total_frames': for videos "
                'it comes after amd_mm.VideoInit, for raw frames the list '
                'has to say it'
            )
        total = int(results['total_frames'])
        if total < 1:
            name = results.get('filename') or results.get('frame_dir') or ''
            raise UnreadableVideoError(name, f'it has {total} frames: nothing to sample from')
        if self.test_mode or total < self.clip_len:
            clips = self._fixed_clips(total)
        else:
            clips = self._random_clips(total)
        frames = clips.reshape(-1) + results['start_index']
        results['frame_inds'] = frames.astype(np.int32)
        results['clip_len'] = self.clip_len
        results['frame_interval'] = None
        results['num_clips'] = self.num_clips
        return results

    def _random_clips(self, total: int) -> np.ndarray:
        """(num_clips, clip_len) frames, one at random in every segment."""
        # Whole frames: segments differ by at most one, and none is lost.
        edges = np.arange(self.clip_len + 1) * total // self.clip_len
        return np.random.randint(edges[:-1], edges[1:], size=(self.num_clips, self.clip_len))

    def _fixed_clips(self, total: int) -> np.ndarray:
        """(num_clips, clip_len) frames, at one place of the segments each."""
        # In 1 / (2 * num_clips) of a segment, so as not to round.
        unit = 2 * self.num_clips
        places = np.full(self.num_clips, self.num_clips)
        if self.test_mode:
            places = (places + 2 * np.arange(self.num_clips)) % unit
        positions = np.arange(self.clip_len) * unit + places[:, None]
        return positions * total // (unit * self.clip_len)

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(clip_len={self.clip_len}, '
            f'num_clips={self.num_clips}, test_mode={self.test_mode})'
        )


def clips_for_testing(frames: int, stride: int | None, clips: int = 1) -> dict[str, Any]:
    """The config of the transform that samples clips for testing.

    Args:
        frames (int): Of a clip.
        stride (int, optional): From one frame of a clip to the next; the last
            frame of a video that is shorter is repeated. None is sparse
            sampling: one frame from each equal part of the video.
        clips (int): Of a video, evenly spaced; one is its middle.

    Returns:
        Dict[str, Any]: Of ``mmaction.SampleFrames`` or
        :class:`SparseSampleFrames`.
    """
    sampling = dict(clip_len=frames, num_clips=clips, test_mode=True)
    if stride is None:
        return dict(type='amd_mm.SparseSampleFrames', **sampling)
    return dict(
        type='mmaction.SampleFrames',
        frame_interval=stride,
        out_of_bound_opt='repeat_last',
        **sampling,
    )
