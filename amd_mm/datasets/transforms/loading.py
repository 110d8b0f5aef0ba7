"""Opening and decoding videos and frame folders, with clear errors."""

from typing import Any

import cv2
import numpy as np
from amd_mm.registry import TRANSFORMS
from mmaction.datasets.transforms import RawFrameDecode
from mmcv.transforms import BaseTransform

from ..video_reader import UnreadableVideoError, open_video, reader_class, unreadable_on_error


def _scale_boxes(results: dict[str, Any]) -> None:
    """Scale relative boxes to pixels, as MMAction2's decoders do."""
    height, width = results['img_shape']
    factor = np.array([width, height, width, height])
    for key in ('gt_bboxes', 'proposals'):
        if results.get(key) is not None:
            results[key] = (results[key] * factor).astype(np.float32)


@TRANSFORMS.register_module()
class VideoInit(BaseTransform):
    """Open a video file.

    ``mmaction.SampleFrames`` comes next, then :class:`VideoDecode`. Only
    local files are read (no MMEngine file backends).

    Required keys: ``filename``. Added keys: ``video_reader``,
    ``total_frames``, ``avg_fps``, and ``start_index`` (0) if not there.

    Args:
        backend (str): ``'decord'``, ``'pyav'``, ``'opencv'`` or
            ``'torchcodec'``; all give the same frames. Defaults to
            ``'decord'``; the configs have ``'pyav'``, with which a core
            makes more clips (``tools/benchmarks``).
        min_frames (int): A video with fewer frames counts as unreadable.
            For clips of T frames with stride s, ``(T - 1) * s + 1`` asks for
            whole clips; the default takes any video. At the end of a short
            one ``SampleFrames`` goes back to its beginning, or repeats a
            frame with ``out_of_bound_opt='repeat_last'``. Defaults to 1.
        num_threads (int): Decoding threads per worker. Defaults to 1.

    Raises:
        ValueError: ``min_frames`` or ``num_threads`` is below 1, or the
            backend is unknown.
    """

    def __init__(self, backend: str = 'decord', min_frames: int = 1, num_threads: int = 1) -> None:
        if min_frames < 1 or num_threads < 1:
            raise ValueError(
                f'min_frames and num_threads must be at least 1, got {min_frames} and {num_threads}'
            )
        # Fails now rather than in a worker, if the name is wrong.
        reader_class(backend)
        self.backend = backend
        self.min_frames = min_frames
        self.num_threads = num_threads

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Open the video.

        Args:
            results (dict): With ``filename``.

        Returns:
            dict: The same, with the reader and what it says.

        Raises:
            UnreadableVideoError: It cannot be opened or is too short.
        """
        path = results['filename']
        reader = open_video(path, self.backend, self.num_threads)
        if len(reader) < self.min_frames:
            length = len(reader)
            reader.close()
            raise UnreadableVideoError(
                path, f'it has {length} frames, fewer than min_frames={self.min_frames}'
            )
        results['video_reader'] = reader
        results['total_frames'] = len(reader)
        results['avg_fps'] = reader.avg_fps
        results.setdefault('start_index', 0)
        return results

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(backend={self.backend!r}, '
            f'min_frames={self.min_frames}, '
            f'num_threads={self.num_threads})'
        )


@TRANSFORMS.register_module()
class VideoDecode(BaseTransform):
    """Decode the frames that were sampled, and close the reader.

    Each frame is decoded once, however often and in whatever order it is
    asked for.

    Required keys: ``video_reader`` (from :class:`VideoInit`) and
    ``frame_inds``. Added keys: ``imgs`` (list of RGB uint8 arrays (H, W, 3)),
    ``original_shape`` and ``img_shape`` ((H, W)); ``video_reader`` becomes
    None. Relative ``gt_bboxes`` and ``proposals`` are scaled to pixels.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Decode.

        Args:
            results (dict): With ``video_reader`` and ``frame_inds``.

        Returns:
            dict: The same, with the frames.

        Raises:
            UnreadableVideoError: The frames cannot be decoded.
        """
        reader, results['video_reader'] = results['video_reader'], None
        try:
            results['imgs'] = reader.read(results['frame_inds'])
        finally:
            reader.close()
        results['original_shape'] = results['imgs'][0].shape[:2]
        results['img_shape'] = results['imgs'][0].shape[:2]
        _scale_boxes(results)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'


@TRANSFORMS.register_module()
class CheckedRawFrameDecode(RawFrameDecode):
    """MMAction2's ``RawFrameDecode`` with errors that name the folder.

    A frame that is missing or is no picture makes the sample unreadable (and
    the datasets of this package replace it), instead of failing somewhere
    later in the pipeline.

    Required and added keys are those of ``mmaction.RawFrameDecode``.

    Args:
        decoding_backend (str): Picture decoder, as for mmcv: ``'cv2'``,
            ``'pillow'``, ``'turbojpeg'``. Defaults to ``'cv2'``.
        min_frames (int): A folder with fewer frames (``total_frames``, from
            the list) counts as unreadable, as in :class:`VideoInit`.
            Defaults to 1.

    Raises:
        ValueError: ``min_frames`` is below 1.
    """

    def __init__(self, decoding_backend: str = 'cv2', min_frames: int = 1) -> None:
        if min_frames < 1:
            raise ValueError(f'min_frames must be at least 1, got {min_frames}')
        super().__init__(io_backend='disk', decoding_backend=decoding_backend)
        self.min_frames = min_frames

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Read the frames.

        Args:
            results (dict): With ``frame_dir``, ``filename_tmpl``,
                ``frame_inds`` and ``modality``; with ``min_frames`` above 1
                also ``total_frames``.

        Returns:
            dict: The same, with ``imgs``, ``img_shape``, ``original_shape``.

        Raises:
            UnreadableVideoError: A frame is missing or is no picture, or
                there are too few.
        """
        # AVA's annotations have no total_frames; the default asks for none.
        if self.min_frames > 1 and results['total_frames'] < self.min_frames:
            raise UnreadableVideoError(
                results['frame_dir'],
                f'it has {results["total_frames"]} frames, fewer than min_frames={self.min_frames}',
            )
        try:
            results = super().transform(results)
            # Of a flow picture that does not decode, an array of None.
            good = all(im.dtype == np.uint8 for im in results['imgs'])
        except Exception:
            self._raise_for_bad_frame(results)
            raise
        if not good:
            self._raise_for_bad_frame(results)
        return results

    def _raise_for_bad_frame(self, results: dict[str, Any]) -> None:
        """Read the frames one by one, to name the first that is bad."""
        folder = results['frame_dir']
        for number in results['frame_inds'].reshape(-1):
            single = dict(results, frame_inds=np.array([number]))
            with unreadable_on_error(folder, f'frame {number}'):
                try:
                    image = super().transform(single)['imgs'][0]
                    good = image.dtype == np.uint8
                except cv2.error:
                    good = False
            if not good:
                raise UnreadableVideoError(folder, f'frame {number} is not a picture')
