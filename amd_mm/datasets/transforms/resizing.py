"""Resizing all frames of a clip into one array."""

import numpy as np
from amd_mm.registry import TRANSFORMS
from mmaction.datasets.transforms import Resize
from mmcv import imresize


@TRANSFORMS.register_module()
class ResizeClip(Resize):
    """MMAction2's ``Resize`` whose frames are written into one array.

    The pixels are those of ``mmaction.Resize``; ``imgs`` becomes one array
    (T, H, W, C) instead of a list, which ``mmaction.FormatShape`` and
    ``mmaction.PackActionInputs`` then pass on without copying. The frames
    given are not changed, so that crops may be views of the decoded frames:
    :class:`RepeatedViews` makes use of that.

    Required and changed keys are those of ``mmaction.Resize``.

    Args:
        scale (float | tuple[int]): As for ``mmaction.Resize``.
        keep_ratio (bool): Whether sides keep their ratio. Defaults to True.
        interpolation (str): As mmcv names it. Defaults to ``'bilinear'``.
    """

    def __init__(
        self,
        scale: float | tuple[int, int],
        keep_ratio: bool = True,
        interpolation: str = 'bilinear',
    ) -> None:
        super().__init__(scale, keep_ratio, interpolation)

    def _resize_imgs(self, imgs: list[np.ndarray], new_w: int, new_h: int) -> np.ndarray:
        """Frames (H, W, C) resized, as one array (T, new_h, new_w, C)."""
        clip = np.empty((len(imgs), new_h, new_w, *imgs[0].shape[2:]), imgs[0].dtype)
        # Resizing once, all frames as channels of one, takes four times as
        # long: OpenCV is made for one to four channels.
        for frame, resized in zip(imgs, clip):
            imresize(frame, (new_w, new_h), interpolation=self.interpolation, out=resized)
        return clip
