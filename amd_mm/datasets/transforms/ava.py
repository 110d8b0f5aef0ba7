"""Clips around the timestamps of AVA, and training proposals from ground-truth boxes."""

from typing import Any

import numpy as np
from amd_mm.registry import TRANSFORMS
from mmaction.datasets.transforms import SampleAVAFrames
from mmcv.transforms import BaseTransform

from ..video_reader import UnreadableVideoError


@TRANSFORMS.register_module()
class SampleAVAClip(SampleAVAFrames):
    """MMAction2's ``SampleAVAFrames``, also for videos of any frame rate.

    AVA's frames are extracted at 30 per second, and ``frame_interval`` counts these. From a video
    (after ``amd_mm.VideoInit``) the frames shown at the same times are taken. A timestamp more
    than a second after the end of a video is an error. ``start_index`` is added once (MMAction2
    adds it twice, and is one frame late).

    Required keys: ``fps``, ``timestamp`` and ``timestamp_start`` (seconds, perhaps with decimals),
    ``start_index``; for raw frames ``shot_info`` (0, number of frames), for videos
    ``total_frames``, ``avg_fps`` and ``filename``. Added keys: ``frame_inds`` (clip_len, ),
    ``clip_len``, ``frame_interval``, ``num_clips``, ``crop_quadruple``.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Choose the frames; in training each is shifted by up to half an interval.

        Raises:
            UnreadableVideoError: the video ends before the timestamp, or has no frame rate.
        """
        seconds = results['timestamp'] - results['timestamp_start']
        video = results.get('avg_fps') is not None
        rate = self._rate(results, seconds) if video else 1.0
        length = round(results['total_frames'] / rate) if video else results['shot_info'][1]
        found = super().transform(
            dict(
                results,
                fps=1,  # count frames, so that a time between two seconds has a middle frame
                timestamp=round(results['fps'] * seconds),
                timestamp_start=0,
                start_index=0,
                total_frames=None,
                shot_info=(0, length),
            )
        )
        inds = found['frame_inds']  # (clip_len, )
        if video:
            inds = np.rint(inds * rate).astype(inds.dtype).clip(0, results['total_frames'] - 1)
        for key in ('clip_len', 'frame_interval', 'num_clips', 'crop_quadruple'):
            results[key] = found[key]
        results['frame_inds'] = inds + results['start_index']
        return results

    @staticmethod
    def _rate(results: dict[str, Any], seconds: float) -> float:
        """Frames of the video for each frame at the dataset's rate."""
        path, fps = results['filename'], results['avg_fps']
        if fps <= 0:
            raise UnreadableVideoError(path, 'it has no frame rate, which a timestamp needs')
        duration = results['total_frames'] / fps
        if seconds > duration + 1:
            raise UnreadableVideoError(
                path,
                f'timestamp {results["timestamp"]} is {seconds} s into it (timestamp_start='
                f'{results["timestamp_start"]}), but it lasts {duration:.1f} s',
            )
        return fps / results['fps']


@TRANSFORMS.register_module()
class GroundTruthProposals(BaseTransform):
    """Use the annotated boxes as proposals, with jittered copies of them.

    ``mmdet.FastRCNN`` needs proposals in training too; AMD's recipe trains on ground-truth boxes.
    List it first, while boxes are relative to the frame.

    Each side of a copy moves by up to ``jitter`` of the box's width or height, so that it overlaps
    its box by at least ``(1 - 2 * jitter) ** 2``. A copy that overlaps less than the assigner's
    ``pos_iou_thr`` (0.9 in the configs: a jitter of 0.025) is not learned from.

    Required key: ``gt_bboxes`` (N, 4). Added key: ``proposals`` (N * (1 + copies), 4), the boxes
    themselves first.

    Args:
        copies: jittered copies of each box.
        jitter: share of a side, in [0, 0.5).

    Raises:
        ValueError: a number is out of range, or one of them is 0 and the other is not.
    """

    def __init__(self, copies: int = 0, jitter: float = 0.0) -> None:
        if copies < 0 or not 0 <= jitter < 0.5 or (copies == 0) != (jitter == 0):
            raise ValueError(
                'copies must not be negative, jitter must be in [0, 0.5), and jittered copies '
                f'need both; got copies={copies}, jitter={jitter}'
            )
        self.copies = copies
        self.jitter = jitter

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add the proposals."""
        boxes = results['gt_bboxes']  # (N, 4)
        sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
        proposals = [boxes]
        for _ in range(self.copies):
            shift = np.random.uniform(-self.jitter, self.jitter, boxes.shape)
            proposals.append((boxes + shift * sides).clip(0, 1))
        results['proposals'] = np.concatenate(proposals)
        return results
