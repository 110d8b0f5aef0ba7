"""Opening and decoding videos, frame folders and images, with errors that name the file."""

from typing import Any

import cv2
import numpy as np
from amd_mm.registry import TRANSFORMS
from mmaction.datasets.transforms import RawFrameDecode
from mmcv.transforms import BaseTransform, LoadImageFromFile

from ..video_reader import UnreadableVideoError, open_video, reader_class, unreadable_on_error


def _check_length(path: str, total_frames: int, min_frames: int) -> None:
    if total_frames < min_frames:
        raise UnreadableVideoError(
            path, f'it has {total_frames} frames, fewer than min_frames={min_frames}'
        )


@TRANSFORMS.register_module()
class VideoInit(BaseTransform):
    """Open a local video file; ``mmaction.SampleFrames`` and :class:`VideoDecode` come next.

    Required key: ``filename``. Added keys: ``video_reader``, ``total_frames``, ``avg_fps`` and, if
    missing, ``start_index`` (0). Of a video with ``segment`` (position of the first frame, number
    of frames), sampling sees the segment only.

    Args:
        backend: ``'pyav'``, ``'decord'`` or ``'torchcodec'``.
        min_frames: a video with fewer frames counts as unreadable. A clip of T frames with stride
            s needs ``(T - 1) * s + 1``. In a shorter video ``SampleFrames`` loops to the
            beginning, or repeats the last frame with ``out_of_bound_opt='repeat_last'``.
        num_threads: decoding threads per worker.

    Raises:
        ValueError: a number is below 1, or the backend is unknown.
    """

    def __init__(self, backend: str = 'pyav', min_frames: int = 1, num_threads: int = 1) -> None:
        if min_frames < 1 or num_threads < 1:
            raise ValueError(
                f'min_frames and num_threads must be at least 1, got {min_frames} and {num_threads}'
            )
        reader_class(backend)  # a wrong name is an error now, not in a worker
        self.backend = backend
        self.min_frames = min_frames
        self.num_threads = num_threads

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Open the video.

        Raises:
            UnreadableVideoError: it cannot be opened or is too short.
        """
        path = results['filename']
        reader = open_video(path, self.backend, self.num_threads)
        first, frames = results.get('segment', (0, len(reader)))
        try:
            _check_length(path, frames, self.min_frames)
            if first + frames > len(reader):
                raise UnreadableVideoError(
                    path, f'{self.backend} finds {len(reader)} frames, not {first + frames}'
                )
        except UnreadableVideoError:
            reader.close()
            raise
        results['video_reader'] = reader
        results['total_frames'] = frames
        results['avg_fps'] = reader.avg_fps
        results.setdefault('start_index', 0)
        if 'segment' in results:
            results['start_index'] = first
        return results


@TRANSFORMS.register_module()
class VideoDecode(BaseTransform):
    """Decode the sampled frames, each once, and close the reader.

    Required keys: ``video_reader`` (from :class:`VideoInit`) and ``frame_inds``. Added keys:
    ``imgs`` (list of RGB uint8 arrays (H, W, 3)), ``original_shape`` and ``img_shape`` ((H, W)).
    Relative ``gt_bboxes`` and ``proposals`` are scaled to pixels.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Decode.

        Raises:
            UnreadableVideoError: the frames cannot be decoded.
        """
        reader, results['video_reader'] = results['video_reader'], None
        try:
            results['imgs'] = reader.read(results['frame_inds'])
        finally:
            reader.close()
        height, width = results['imgs'][0].shape[:2]
        results['original_shape'] = results['img_shape'] = (height, width)
        for key in ('gt_bboxes', 'proposals'):
            if results.get(key) is not None:
                size = np.array([width, height, width, height])
                results[key] = (results[key] * size).astype(np.float32)
        return results


@TRANSFORMS.register_module()
class CheckedRawFrameDecode(RawFrameDecode):
    """MMAction2's ``RawFrameDecode``, with errors that name the missing or corrupt frame.

    Args:
        decoding_backend: image decoder of mmcv: ``'cv2'``, ``'pillow'``, ``'turbojpeg'``.
        min_frames: a folder with fewer ``total_frames`` (from the list) counts as unreadable.

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

        Raises:
            UnreadableVideoError: a frame is missing or not an image, or there are too few.
        """
        if self.min_frames > 1:  # AVA's annotations have no total_frames
            _check_length(results['frame_dir'], results['total_frames'], self.min_frames)
        try:
            return super().transform(results)
        except Exception:
            self._raise_for_bad_frame(results)
            raise

    def _raise_for_bad_frame(self, results: dict[str, Any]) -> None:
        """Read the frames one by one, and name the first bad one."""
        folder = results['frame_dir']
        for number in results['frame_inds'].reshape(-1):
            with unreadable_on_error(folder, f'frame {number}'):
                try:
                    super().transform(dict(results, frame_inds=np.array([number])))
                except cv2.error:
                    raise UnreadableVideoError(folder, f'frame {number} is not an image') from None


@TRANSFORMS.register_module()
class LoadImage(LoadImageFromFile):
    """MMCV's ``LoadImageFromFile``; raises UnreadableVideoError if the file cannot be read.

    Images of 16 bits per channel are scaled to 8. Transparency is dropped.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Load ``img`` (H, W, C) from ``img_path``."""
        if 'img' in results:  # MMPretrain's inferencers load the image themselves
            return results
        path = results['img_path']
        with unreadable_on_error(path, 'loading the image'):
            if path.lower().endswith(('.tif', '.tiff')):
                _check_depth(path)
            try:
                return super().transform(results)
            except AssertionError:
                raise UnreadableVideoError(
                    path,
                    f'{self.imdecode_backend} cannot decode it: it is damaged, or of a kind that '
                    'is not supported (GIF): save it as PNG',
                ) from None


def _check_depth(path: str) -> None:
    """OpenCV converts floats without knowing their range."""
    image = cv2.imread(path, cv2.IMREAD_UNCHANGED)
    if image is not None and image.dtype not in (np.uint8, np.uint16):
        raise UnreadableVideoError(path, f'its pixels are {image.dtype}: save it with 8 or 16 bits')
