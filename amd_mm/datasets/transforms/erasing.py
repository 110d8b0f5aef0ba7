"""Random erasing for clips: one box for all frames."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from amd_mm.registry import TRANSFORMS
from mmcv.transforms import BaseTransform

from .frames import put_frames, rgb_frames

_MODES = ('pixel', 'rand', 'const')
_ATTEMPTS = 10


@TRANSFORMS.register_module()
class RandomErasing(BaseTransform):
    """Replace one random box by noise, at the same place in all frames.

    Area and aspect ratio of the box are drawn as in timm: the area uniform
    between ``min_area`` and ``max_area`` of the frame, the aspect ratio
    (height / width) log-uniform between ``min_aspect`` and its inverse; a
    box that does not fit is drawn again, up to 10 times, then nothing is
    erased.

    Frames stay uint8, as they are normalised later, on the device. The noise
    is drawn so that it is N(0, 1) *after* normalisation with ``mean`` and
    ``std``, then rounded and clipped to 0 to 255. With ImageNet's values the
    clipping falls about two standard deviations from the mean, so the noise
    has a standard deviation of about 0.96.

    It comes after cropping and resizing and before ``mmaction.FormatShape``.

    Required and changed key: ``imgs``, RGB, a list of uint8 arrays (H, W, 3)
    of one size or one uint8 array (T, H, W, 3). The given arrays are not
    written to.

    Sources: https://arxiv.org/abs/1708.04896 and timm's ``RandomErasing``;
    the public video recipes have [0.25, pixel, 1 box].

    Args:
        probability (float): Of erasing anything in a clip. Defaults to 0.25.
        mode (str): ``'pixel'``: each pixel of each frame has noise of its
            own. ``'rand'``: one random colour per frame. ``'const'``: the
            mean colour, 0 after normalisation. Defaults to ``'pixel'``.
        min_area (float): Share of the frame. Defaults to 0.02.
        max_area (float): Share of the frame. Defaults to 1/3.
        min_aspect (float): Above 0, at most 1. Defaults to 0.3.
        mean (Sequence[float]): Of the data preprocessor, R, G, B. Defaults
            to ImageNet's.
        std (Sequence[float]): Of the data preprocessor. Defaults to
            ImageNet's.

    Raises:
        ValueError: The mode is unknown, a number is out of its range, or
            ``mean`` or ``std`` are not three values.
    """

    def __init__(
        self,
        probability: float = 0.25,
        mode: str = 'pixel',
        min_area: float = 0.02,
        max_area: float = 1 / 3,
        min_aspect: float = 0.3,
        mean: Sequence[float] = (123.675, 116.28, 103.53),
        std: Sequence[float] = (58.395, 57.12, 57.375),
    ) -> None:
        if mode not in _MODES:
            raise ValueError(
                f'unknown mode of random erasing {mode!r}: choose one of {", ".join(_MODES)}'
            )
        if not 0 <= probability <= 1:
            raise ValueError(f'probability must be from 0 to 1, got {probability}')
        if not 0 < min_area <= max_area <= 1:
            raise ValueError(
                'min_area and max_area must be above 0, at most '
                f'1 and ascending, got {min_area}, {max_area}'
            )
        if not 0 < min_aspect <= 1:
            raise ValueError(f'min_aspect must be above 0 and at most 1, got {min_aspect}')
        if len(mean) != 3 or len(std) != 3:
            raise ValueError(f'mean and std need three values, R, G and B, got {mean} and {std}')
        self.probability = probability
        self.mode = mode
        self.min_area = min_area
        self.max_area = max_area
        self.min_aspect = min_aspect
        self.mean = np.array(mean, np.float32)
        self.std = np.array(std, np.float32)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Erase, or not.

        Args:
            results (dict): With ``imgs``.

        Returns:
            dict: The same, with other frames where erased.

        Raises:
            KeyError: There are no frames yet.
            ValueError: The frames are not uint8 RGB or differ in size.
        """
        frames = rgb_frames(results, 'RandomErasing')
        sizes = {frame.shape[:2] for frame in frames}
        if len(sizes) != 1:
            raise ValueError(
                f'RandomErasing needs frames of one size, got {sorted(sizes) or "no frames"}'
            )
        if np.random.rand() >= self.probability:
            return results
        box = self._draw_box(*sizes.pop())
        if box is None:
            return results
        # One draw from the global state, whatever the number of pixels.
        rng = np.random.default_rng(np.random.randint(2**31))
        top, left, height, width = box
        erased = []
        for frame in frames:
            frame = frame.copy()
            frame[top : top + height, left : left + width] = self._fill(rng, height, width)
            erased.append(frame)
        put_frames(results, erased)
        return results

    def _draw_box(self, height: int, width: int) -> tuple[int, int, int, int] | None:
        """(top, left, height, width), or None when none fits."""
        longest = -np.log(self.min_aspect)
        for _ in range(_ATTEMPTS):
            share = np.random.uniform(self.min_area, self.max_area)
            aspect = np.exp(np.random.uniform(-longest, longest))
            area = share * height * width
            box_height = round(np.sqrt(area * aspect))
            box_width = round(np.sqrt(area / aspect))
            if 0 < box_height < height and 0 < box_width < width:
                top = np.random.randint(height - box_height + 1)
                left = np.random.randint(width - box_width + 1)
                return int(top), int(left), box_height, box_width
        return None

    def _fill(self, rng: np.random.Generator, height: int, width: int) -> np.ndarray:
        """uint8 pixels for one frame's box, or what broadcasts to them."""
        shapes = dict(pixel=(height, width, 3), rand=(1, 1, 3), const=None)
        shape = shapes[self.mode]
        noise = 0 if shape is None else rng.standard_normal(shape, dtype=np.float32)
        pixels = noise * self.std + self.mean
        return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(probability={self.probability}, '
            f'mode={self.mode!r}, min_area={self.min_area}, '
            f'max_area={self.max_area:.4g}, '
            f'min_aspect={self.min_aspect}, mean={self.mean.tolist()}, '
            f'std={self.std.tolist()})'
        )
