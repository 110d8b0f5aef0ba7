"""Several views of one decoded clip, and resizing without copies."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from amd_mm.registry import TRANSFORMS
from mmaction.datasets.transforms import (
    CenterCrop,
    MultiScaleCrop,
    RandomCrop,
    RandomResizedCrop,
    Resize,
)
from mmcv import imresize
from mmcv.transforms import BaseTransform
from mmengine.dataset import Compose

_CROPS = (CenterCrop, MultiScaleCrop, RandomCrop, RandomResizedCrop)


@TRANSFORMS.register_module()
class RepeatedViews(BaseTransform):
    """Repeated sampling: make several samples of a clip that is decoded once.

    The inner transforms (crop, resize, flip, format, pack) run ``num_views`` times on the same
    frames, with new random numbers each time. List it last, after the decoder, in any dataset;
    ``amd_mm.flatten_views_collate`` or ``amd_mm.stack_views_collate`` makes a flat batch. The
    ``batch_size`` of the loader counts videos; a step has ``num_views`` times as many clips.

    Each view gets a copy of the frames, as transforms may write into them. Nothing is copied if
    the transforms begin with MMAction2's crops and :class:`ResizeClip`, which do not write.

    Args:
        transforms: the inner transforms, ending with packing.
        num_views: samples per clip; AMD and VideoMAE pre-train with 4.

    Raises:
        ValueError: ``num_views`` is below 1.
    """

    def __init__(self, transforms: Sequence[dict | Callable], num_views: int = 4) -> None:
        if num_views < 1:
            raise ValueError(f'num_views must be at least 1, got {num_views}')
        self.num_views = num_views
        self.transforms = Compose(transforms)
        first = next((t for t in self.transforms.transforms if type(t) not in _CROPS), None)
        self._copies = not isinstance(first, ResizeClip)

    def transform(self, results: dict[str, Any]) -> list[dict] | None:
        """Make the views.

        Args:
            results: with ``imgs``, the decoded frames, which are removed.

        Returns:
            ``num_views`` packed samples, whose ``data_samples`` have the metainfo ``view``; None
            if an inner transform returned None.

        Raises:
            KeyError: there are no frames yet.
        """
        if 'imgs' not in results:
            raise KeyError(
                "RepeatedViews found no decoded frames ('imgs'): list it after the decoder"
            )
        frames = results.pop('imgs')
        results.pop('video_reader', None)
        views = []
        for number in range(self.num_views):
            last = number == self.num_views - 1
            view = copy.deepcopy(results)
            view['imgs'] = copy.deepcopy(frames) if self._copies and not last else frames
            packed = self.transforms(view)
            if packed is None:
                return None
            if isinstance(packed, dict) and 'data_samples' in packed:
                packed['data_samples'].set_metainfo(dict(view=number))
            views.append(packed)
        return views

    def __repr__(self) -> str:
        return f'{type(self).__name__}(num_views={self.num_views}, transforms={self.transforms})'


@TRANSFORMS.register_module()
class ResizeClip(Resize):
    """MMAction2's ``Resize``, writing all frames into one array (T, H, W, C).

    ``mmaction.FormatShape`` and ``mmaction.PackActionInputs`` do not copy the array. The given
    frames are not changed, so crops may be views of the decoded frames.
    """

    def __init__(
        self,
        scale: float | tuple[int, int],
        keep_ratio: bool = True,
        interpolation: str = 'bilinear',
    ) -> None:
        super().__init__(scale, keep_ratio, interpolation)

    def _resize_imgs(self, imgs: list[np.ndarray], new_w: int, new_h: int) -> np.ndarray:
        clip = np.empty((len(imgs), new_h, new_w, *imgs[0].shape[2:]), imgs[0].dtype)
        for frame, resized in zip(imgs, clip):
            imresize(frame, (new_w, new_h), interpolation=self.interpolation, out=resized)
        return clip
