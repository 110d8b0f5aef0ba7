"""RandAugment and random erasing for clips: the same for all frames."""

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from amd_mm.registry import TRANSFORMS
from mmcv.transforms import BaseTransform
from PIL import Image, ImageOps

_SECTION = re.compile(r'(mstd|inc|m|n)(\d+(?:\.\d+)?)')
_HIGHEST_MAGNITUDE = 10
# Pillow, as MMPretrain's operations take ten times as long.
_BY_PILLOW: dict[str, Callable[[Image.Image], Image.Image]] = {
    'AutoContrast': ImageOps.autocontrast,
    'Equalize': ImageOps.equalize,
}
# A pixel's new value depends only on its old value: one table for all frames.
_BY_TABLE = ('Brightness', 'Invert', 'Posterize', 'Solarize', 'SolarizeAdd')
_ALL_VALUES = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(1, 256, 3)
# mmcv computes the grey image of these from BGR.
_IN_BGR = ('ColorTransform', 'Contrast')


def _rgb_frames(results: dict[str, Any], user: str) -> list[np.ndarray]:
    """Check ``results['imgs']``, T frames (H, W, 3) in a list or an array, without copying."""
    if 'imgs' not in results:
        raise KeyError(f"{user} found no decoded frames ('imgs'): list it after the decoder")
    frames = list(results['imgs'])
    for frame in frames:
        dtype = getattr(frame, 'dtype', type(frame).__name__)
        if dtype != np.uint8 or np.ndim(frame) != 3 or np.shape(frame)[-1] != 3:
            raise ValueError(
                f'{user} takes RGB frames, uint8 arrays (H, W, 3), but got {dtype} of shape '
                f'{np.shape(frame)}: list it before normalising and mmaction.FormatShape'
            )
    return frames


def _put_frames(results: dict[str, Any], frames: list[np.ndarray]) -> None:
    """Store frames in a list or an array, as they were."""
    is_array = isinstance(results['imgs'], np.ndarray)
    results['imgs'] = np.stack(frames) if is_array and frames else frames


class RandAugmentPolicy(NamedTuple):
    """A parsed policy string; with ``magnitude_std='inf'`` the magnitude is uniform."""

    magnitude: int
    num_layers: int
    magnitude_std: float | str


def parse_policy(text: str) -> RandAugmentPolicy:
    """Parse a policy string of timm, for example ``'rand-m7-n4-mstd0.5-inc1'``.

    ``rand`` is followed, in any order, by ``m`` (magnitude from 0 to 10, by default 10), ``n``
    (number of operations, by default 2), ``mstd`` (standard deviation of the magnitude, by default
    0; uniform above 100) and ``inc1``, which is required (the operations whose strength increases
    with the magnitude).

    Raises:
        ValueError: a section is wrong; the message names it.
    """
    problem = ''
    name, *sections = str(text).split('-')
    found: dict[str, str] = {}
    for section in sections:
        match = _SECTION.fullmatch(section)
        if match is None:
            problem = f'{section!r} is not a section'
        elif match[1] in found:
            problem = f'{section!r} comes twice'
        else:
            found[match[1]] = match[2]
    for key, lowest, highest in (('m', 0, _HIGHEST_MAGNITUDE), ('n', 1, 100)):
        value = found.get(key, '1')
        if not value.isdigit() or not lowest <= int(value) <= highest:
            problem = f'{key} must be a whole number from {lowest} to {highest}, got {value}'
    if name != 'rand':
        problem = "it must begin with 'rand-'"
    elif not problem and found.get('inc') != '1':
        problem = "no section 'inc1'; only increasing operations are provided"
    if problem:
        raise ValueError(
            f'RandAugment policy {text!r}: {problem}. Sections are m, n, mstd and inc, for '
            "example 'rand-m7-n4-mstd0.5-inc1'"
        )
    std = float(found.get('mstd', 0))
    return RandAugmentPolicy(
        magnitude=int(found.get('m', _HIGHEST_MAGNITUDE)),
        num_layers=int(found.get('n', 2)),
        magnitude_std='inf' if std > 100 else std,
    )


@TRANSFORMS.register_module()
class RandAugment(BaseTransform):
    """RandAugment, drawn once per clip and applied alike to all its frames.

    ``n`` operations are drawn with replacement from timm's 15 increasing ones. Each is applied with
    probability 0.5, with a magnitude from N(m, mstd) clipped to [0, 10], and a random sign if the
    operation has one. The operations, ranges and draws are those of ``mmpretrain.RandAugment``
    (``timm_increasing``). AutoContrast, Equalize and Contrast use the statistics of each frame.

    The paper's (9, 0.5) is ``'rand-m9-mstd0.5-inc1'``; the public video recipes use
    ``'rand-m7-n4-mstd0.5-inc1'``. List it after the decoder and before ``mmaction.FormatShape``;
    it is faster after cropping. The number of draws from ``np.random`` does not depend on the
    number of frames.

    Required and modified key: ``imgs``, RGB, a list of uint8 arrays (H, W, 3) or one (T, H, W, 3).

    Sources: https://arxiv.org/abs/1909.13719 and timm's ``rand_augment_transform``.

    Args:
        policy: see :func:`parse_policy`.
        pad_val: value of the pixels that are moved in from outside, 0 to 255.
        interpolation: mmcv's name of the interpolation for rotating, shearing and translating.

    Raises:
        ValueError: an argument is wrong.
        ImportError: MMPretrain cannot be imported.
    """

    def __init__(
        self,
        policy: str = 'rand-m7-n4-mstd0.5-inc1',
        pad_val: int = 128,
        interpolation: str = 'bicubic',
    ) -> None:
        interpolations = ('nearest', 'bilinear', 'bicubic', 'area', 'lanczos')
        if interpolation not in interpolations:
            raise ValueError(
                f'unknown interpolation {interpolation!r}: choose one of '
                f'{", ".join(interpolations)}'
            )
        if not 0 <= pad_val <= 255:
            raise ValueError(f'pad_val must be from 0 to 255, got {pad_val}')
        self.policy = policy
        self.augment = _build_mmpretrains(parse_policy(policy), pad_val, interpolation)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Augment all frames alike.

        Raises:
            KeyError: the frames are not decoded yet.
            ValueError: the frames are not uint8 RGB, or the sample has boxes.
        """
        if results.get('gt_bboxes') is not None:
            raise ValueError(
                'RandAugment moves the pixels but not the boxes (gt_bboxes): remove it'
            )
        frames = _rgb_frames(results, 'RandAugment')
        for index in self.augment.random_policy_indices():
            frames = _apply(self.augment.transforms[index], frames)
        _put_frames(results, frames)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(policy={self.policy!r})'


def _build_mmpretrains(
    policy: RandAugmentPolicy, pad_val: int, interpolation: str
) -> BaseTransform:
    """Build ``mmpretrain.RandAugment``, whose draws and operations are used."""
    try:
        from mmpretrain.datasets.transforms.auto_augment import RANDAUG_POLICIES
    except ImportError as error:
        raise ImportError(
            f'RandAugment needs MMPretrain, which cannot be imported ({error}): '
            'pip install "mmpretrain>=1.2.0"'
        ) from error
    # With scopes, for any default scope.
    operations = [
        dict(operation, type=f'mmpretrain.{operation["type"]}')
        for operation in RANDAUG_POLICIES['timm_increasing']
    ]
    return TRANSFORMS.build(
        dict(
            type='mmpretrain.RandAugment',
            policies=operations,
            num_policies=policy.num_layers,
            magnitude_level=policy.magnitude,
            magnitude_std=policy.magnitude_std,
            total_level=_HIGHEST_MAGNITUDE,
            # Given one number, mmcv's imrotate fills only the first channel.
            hparams=dict(pad_val=[pad_val] * 3, interpolation=interpolation, prob=0.5),
        )
    )


def _apply(operation: BaseTransform, frames: list[np.ndarray]) -> list[np.ndarray]:
    """Apply one operation of MMPretrain to all frames, with the same draw for each."""
    state = np.random.get_state()
    if operation.random_disable():
        return frames
    name = type(operation).__name__
    if name in _BY_PILLOW:
        return [np.array(_BY_PILLOW[name](Image.fromarray(frame))) for frame in frames]
    if name in _BY_TABLE:
        np.random.set_state(state)
        table = operation(dict(img=_ALL_VALUES))['img'][0, :, 0]
        return [cv2.LUT(frame, np.ascontiguousarray(table)) for frame in frames]
    if name in _IN_BGR:
        frames = [cv2.cvtColor(frame, cv2.COLOR_RGB2BGR) for frame in frames]
    changed = []
    for frame in frames:
        np.random.set_state(state)
        changed.append(operation(dict(img=frame))['img'])
    if name in _IN_BGR:
        changed = [cv2.cvtColor(frame, cv2.COLOR_BGR2RGB) for frame in changed]
    return changed


@TRANSFORMS.register_module()
class RandomErasing(BaseTransform):
    """Replace one random box by noise, at the same place in all frames.

    Area and aspect ratio are drawn as in timm: the area uniform between ``min_area`` and
    ``max_area`` of the frame, the aspect ratio (height / width) log-uniform between ``min_aspect``
    and its inverse. A box that does not fit is drawn again, up to 10 times.

    Frames stay uint8, as they are normalised later, on the device. The noise is N(0, 1) *after*
    normalisation with ``mean`` and ``std``, rounded and clipped to [0, 255]. With ImageNet's
    values, clipping reduces the standard deviation to about 0.96.

    Required and modified key: ``imgs``, RGB, a list of uint8 arrays (H, W, 3) of one size or one
    (T, H, W, 3). The given arrays are not changed.

    Sources: https://arxiv.org/abs/1708.04896 and timm's ``RandomErasing``; the public video
    recipes use probability 0.25, mode ``'pixel'`` and one box.

    Args:
        probability: of erasing a box in a clip.
        mode: ``'pixel'``: independent noise for each pixel of each frame. ``'rand'``: one random
            colour per frame. ``'const'``: the mean colour.
        min_area: smallest area of the box, as a share of the frame.
        max_area: largest area of the box, as a share of the frame.
        min_aspect: above 0, at most 1.
        mean: of the data preprocessor, R, G, B.
        std: of the data preprocessor.

    Raises:
        ValueError: an argument is wrong.
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
        if mode not in ('pixel', 'rand', 'const'):
            raise ValueError(f'unknown mode {mode!r}: choose one of pixel, rand, const')
        if not 0 <= probability <= 1:
            raise ValueError(f'probability must be from 0 to 1, got {probability}')
        if not 0 < min_area <= max_area <= 1:
            raise ValueError(
                f'need 0 < min_area <= max_area <= 1, got min_area={min_area}, max_area={max_area}'
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
        """Erase a box, with the given probability.

        Raises:
            KeyError: the frames are not decoded yet.
            ValueError: the frames are not uint8 RGB or differ in size.
        """
        frames = _rgb_frames(results, 'RandomErasing')
        sizes = {frame.shape[:2] for frame in frames}
        if len(sizes) != 1:
            raise ValueError(f'RandomErasing needs frames of one size, got {sorted(sizes)}')
        if np.random.rand() >= self.probability:
            return results
        box = self._draw_box(*sizes.pop())
        if box is None:
            return results
        # One draw from the global state for any number of pixels.
        rng = np.random.default_rng(np.random.randint(2**31))
        top, left, height, width = box
        erased = [frame.copy() for frame in frames]
        for frame in erased:
            frame[top : top + height, left : left + width] = self._fill(rng, height, width)
        _put_frames(results, erased)
        return results

    def _draw_box(self, height: int, width: int) -> tuple[int, int, int, int] | None:
        """(top, left, height, width), or None if none of 10 draws fits."""
        longest = -np.log(self.min_aspect)
        for _ in range(10):
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
        """uint8 pixels for one frame's box, broadcastable to (height, width, 3)."""
        shape = (height, width, 3) if self.mode == 'pixel' else (1, 1, 3)
        noise = np.zeros(shape, np.float32)
        if self.mode != 'const':
            noise = rng.standard_normal(shape, dtype=np.float32)
        return np.clip(np.rint(noise * self.std + self.mean), 0, 255).astype(np.uint8)

    def __repr__(self) -> str:
        return f'{type(self).__name__}(probability={self.probability}, mode={self.mode!r})'
