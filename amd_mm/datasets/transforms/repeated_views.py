"""Several views of one decoded clip."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from amd_mm.registry import TRANSFORMS
from mmaction.datasets.transforms import CenterCrop, MultiScaleCrop, RandomCrop, RandomResizedCrop
from mmcv.transforms import BaseTransform
from mmengine.dataset import Compose

from .resizing import ResizeClip

# What they give are views of the frames, which they do not change.
_CROPS = (CenterCrop, MultiScaleCrop, RandomCrop, RandomResizedCrop)


@TRANSFORMS.register_module()
class RepeatedViews(BaseTransform):
    """Repeated sampling: make N samples of a clip that was decoded once.

    The inner transforms (crop, resize, flip, format, pack) run N times, each
    time with fresh randomness, on the same frames. Each time gets a copy of
    them, for transforms may write into their frames; nothing is copied when
    they begin with crops of MMAction2 and :class:`ResizeClip`, which do not.
    It comes last in the pipeline, after any decoder of videos or raw frames,
    in any dataset; ``amd_mm.flatten_views_collate`` or
    ``amd_mm.one_tensor_collate`` makes a flat batch of the result. A loader's
    ``batch_size`` then counts videos: the clips per step are ``num_views``
    times as many.

    Required keys: ``imgs`` and what the inner transforms need.

    Args:
        transforms (list): The inner transforms, ending with packing.
        num_views (int): Samples per clip. Defaults to 4, as AMD and
            VideoMAE pre-train.

    Raises:
        ValueError: ``num_views`` is below 1.
    """

    def __init__(self, transforms: Sequence[dict | Callable], num_views: int = 4) -> None:
        if num_views < 1:
            raise ValueError(f'num_views must be at least 1, got {num_views}')
        self.num_views = num_views
        self.transforms = Compose(transforms)
        self._copies = not _leave_frames_alone(self.transforms.transforms)

    def transform(self, results: dict[str, Any]) -> list[dict] | None:
        """Make the views.

        Args:
            results (dict): With ``imgs``, the decoded frames: a list of
                (H, W, 3) arrays or one array. It is used up.

        Returns:
            list[dict] or None: ``num_views`` packed samples, whose
            ``data_samples`` have the metainfo ``view``; None when an inner
            transform gave None.

        Raises:
            KeyError: There are no frames yet.
        """
        if 'imgs' not in results:
            raise KeyError(
                "RepeatedViews found no decoded frames ('imgs'): it has to "
                'come after the decoding transform'
            )
        frames = results.pop('imgs')
        # A decoder is neither copied nor kept.
        results.pop('video_reader', None)
        views = []
        for number in range(self.num_views):
            # Flip and others change frames in place, so each view has its
            # own; the last one may have the originals.
            shared = not self._copies or number == self.num_views - 1
            view = copy.deepcopy(results)
            view['imgs'] = frames if shared else _copy_frames(frames)
            packed = self.transforms(view)
            if packed is None:
                return None
            if isinstance(packed, dict) and 'data_samples' in packed:
                packed['data_samples'].set_metainfo(dict(view=number))
            views.append(packed)
        return views

    def __repr__(self) -> str:
        return f'{type(self).__name__}(num_views={self.num_views}, transforms={self.transforms})'


def _leave_frames_alone(transforms: Sequence[Callable]) -> bool:
    """Whether the frames given stay as they are, and none is passed on."""
    for transform in transforms:
        if isinstance(transform, ResizeClip):
            return True
        # A subclass might write.
        if type(transform) not in _CROPS:
            return False
    return False


def _copy_frames(frames: np.ndarray | list[np.ndarray]) -> np.ndarray | list[np.ndarray]:
    if isinstance(frames, np.ndarray):
        return frames.copy()
    return [frame.copy() for frame in frames]
