from typing import Any

from amd_mm.registry import TRANSFORMS
from mmcv.transforms import LoadImageFromFile

from ..video_reader import unreadable_on_error


@TRANSFORMS.register_module()
class LoadImage(LoadImageFromFile):
    """MMCV's ``LoadImageFromFile``, with one error for unreadable files.

    The error is :class:`~amd_mm.datasets.UnreadableVideoError`, with path and
    reason, whether the file is missing, empty, or no image: datasets of this
    package replace such an image by another one and report it.

    Arguments, required and added keys are those of ``LoadImageFromFile``.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Load the image.

        Args:
            results (dict): With ``img_path``.

        Returns:
            dict: With ``img`` (H, W, C), ``img_shape`` and ``ori_shape``.

        Raises:
            UnreadableVideoError: If it cannot be read.
        """
        if 'img' in results:  # MMPretrain's inferencers load the image themselves
            return results
        with unreadable_on_error(results['img_path'], 'loading the image'):
            return super().transform(results)
