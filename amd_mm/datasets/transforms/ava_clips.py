"""Clips around the timestamps of AVA, from videos and from raw frames."""

from typing import Any

import numpy as np
from amd_mm.registry import TRANSFORMS
from mmaction.datasets.transforms import SampleAVAFrames

from ..video_reader import UnreadableVideoError


@TRANSFORMS.register_module()
class SampleAVAClip(SampleAVAFrames):
    """MMAction2's ``SampleAVAFrames`` at one rate for videos of any rate.

    AVA's frames are extracted at 30 a second, and ``frame_interval`` counts
    these. Of a video (after ``amd_mm.VideoInit``) the frames shown at the
    same times are taken, whatever its own rate. A timestamp more than a
    second after the end of a video is an error, not its last frame. And the
    number of the first frame is counted once (MMAction2 adds it twice, and is
    a frame late).

    In training each frame is shifted at random by up to half an interval.

    Required keys: ``fps``, ``timestamp`` and ``timestamp_start`` (seconds,
    perhaps with decimals), ``start_index``; for raw frames ``shot_info`` (0,
    number of frames), for videos ``total_frames``, ``avg_fps`` and
    ``filename``. Added keys: ``frame_inds`` (clip_len, ), ``clip_len``,
    ``frame_interval``, ``num_clips``, ``crop_quadruple``.

    Args:
        clip_len (int): Frames of a clip.
        frame_interval (int): Between them, in frames of ``fps`` a second.
            Defaults to 2.
        test_mode (bool): Without the random shift. Defaults to False.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Choose the frames.

        Args:
            results (dict): See the class.

        Returns:
            dict: The same, with ``frame_inds``.

        Raises:
            UnreadableVideoError: The video ends before the timestamp, or does
                not say its frame rate.
        """
        start_index = results['start_index']
        video = results.get('avg_fps') is not None
        rate = self._rate(results) if video else 1.0
        length = round(results['total_frames'] / rate) if video else results['shot_info'][1]
        time = results['timestamp'] - results['timestamp_start']
        found = super().transform(
            dict(
                results,
                # Times between two seconds have a middle frame too.
                fps=1,
                timestamp=round(results['fps'] * time),
                timestamp_start=0,
                start_index=0,
                total_frames=None,
                shot_info=(0, length),
            )
        )
        inds = found['frame_inds']
        if video:
            inds = np.rint(inds * rate).astype(inds.dtype)
            inds = inds.clip(0, results['total_frames'] - 1)
        for key in ('clip_len', 'frame_interval', 'num_clips', 'crop_quadruple'):
            results[key] = found[key]
        results['frame_inds'] = inds + start_index
        return results

    @staticmethod
    def _rate(results: dict[str, Any]) -> float:
        """Frames of the video for each frame at the data set's rate."""
        path, fps = results['filename'], results['avg_fps']
        if fps <= 0:
            raise UnreadableVideoError(
                path, 'it does not say its frame rate, so that a timestamp cannot be found in it'
            )
        lasts = results['total_frames'] / fps
        asked = results['timestamp'] - results['timestamp_start']
        if asked > lasts + 1:
            raise UnreadableVideoError(
                path,
                f'timestamp {results["timestamp"]} is {asked} s into '
                f'it (timestamp_start={results["timestamp_start"]}), but it '
                f'lasts {lasts:.1f} s',
            )
        return fps / results['fps']
