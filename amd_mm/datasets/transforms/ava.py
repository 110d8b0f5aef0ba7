"""Clips around the timestamps of AVA, and training proposals from ground-truth boxes."""

from typing import Any

import numpy as np
from amd_mm.registry import TRANSFORMS
from mmaction.datasets.transforms import SampleAVAFrames
from mmcv.transforms import BaseTransform

from ..video_reader import UnreadableVideoError, VideoReader


@TRANSFORMS.register_module()
class SampleAVAClip(SampleAVAFrames):
    """MMAction2's ``SampleAVAFrames``, also for videos of any frame rate.

    AVA's frames are extracted at 30 per second, and ``frame_interval`` counts these. From a video
    (after ``amd_mm.VideoInit``) the frames shown at the same times are taken, also if its frame
    rate varies. A timestamp more than a second after the end of a video is an error.
    ``start_index`` is added once (MMAction2 adds it twice, and is one frame late).

    Required keys: ``fps``, ``timestamp`` and ``timestamp_start`` (seconds, perhaps with decimals),
    ``start_index``; for raw frames ``shot_info`` (0, number of frames), for videos
    ``video_reader``. Added keys: ``frame_inds`` (clip_len, ), ``clip_len``, ``frame_interval``,
    ``num_clips``, ``crop_quadruple``.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Choose the frames; in training each is shifted by up to half an interval.

        Raises:
            UnreadableVideoError: the video ends before the timestamp, or has no frame rate.
        """
        fps = results['fps']
        seconds = results['timestamp'] - results['timestamp_start']
        reader: VideoReader | None = results.get('video_reader')
        if reader is None:
            length = results['shot_info'][1]
        else:
            _check_duration(reader, seconds, results)
            length = round(reader.duration * fps)
        found = super().transform(
            dict(
                results,
                fps=1,  # count frames, so that a time between two seconds has a middle frame
                timestamp=round(fps * seconds),
                timestamp_start=0,
                start_index=0,
                total_frames=None,
                shot_info=(0, length),
            )
        )
        inds = found['frame_inds']  # (clip_len, )
        if reader is not None:
            inds = reader.positions_at(inds / fps).astype(inds.dtype)
        for key in ('clip_len', 'frame_interval', 'num_clips', 'crop_quadruple'):
            results[key] = found[key]
        results['frame_inds'] = inds + results['start_index']
        return results


def _check_duration(reader: VideoReader, seconds: float, results: dict[str, Any]) -> None:
    if seconds > reader.duration + 1:
        raise UnreadableVideoError(
            reader.path,
            f'timestamp {results["timestamp"]} is {seconds} s into it (timestamp_start='
            f'{results["timestamp_start"]}), but it lasts {reader.duration:.1f} s',
        )


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
