"""RandAugment for clips: one draw for all frames."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import cv2
import numpy as np
from amd_mm.registry import TRANSFORMS
from mmcv.transforms import BaseTransform
from PIL import Image, ImageOps

from .frames import put_frames, rgb_frames

_SECTION = re.compile(r'(mstd|inc|m|n)(\d+(?:\.\d+)?)')
_HIGHEST_MAGNITUDE = 10

# The work of an operation, where MMPretrain's takes ten times as long.
_QUICKER: dict[str, Callable[[Image.Image], Image.Image]] = {
    'AutoContrast': ImageOps.autocontrast,
    'Equalize': ImageOps.equalize,
}
# A pixel's new value depends on its old value only: tables do.
_BY_VALUE = ('Brightness', 'Invert', 'Posterize', 'Solarize', 'SolarizeAdd')
# mmcv computes brightness, the grey picture, from BGR.
_IN_BGR = ('ColorTransform', 'Contrast')
_ALL_VALUES = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(1, 256, 3)


class RandAugmentPolicy(NamedTuple):
    """What a policy string of timm says.

    Attributes:
        magnitude (int): How strong, 0 to 10.
        num_layers (int): How many operations are drawn.
        magnitude_std (float or str): Standard deviation of the magnitude;
            ``'inf'``: uniform from 0 to ``magnitude``.
    """

    magnitude: int
    num_layers: int
    magnitude_std: float | str


def parse_policy(text: str) -> RandAugmentPolicy:
    """Read a policy string as timm writes it.

    ``rand``, then sections in any order: ``m`` (magnitude, 0 to 10; 10 if
    left out), ``n`` (operations; 2), ``mstd`` (noise of the magnitude; 0, and
    above 100 the magnitude is uniform) and ``inc1`` (the operations whose
    strength increases with the magnitude), which has to be there.

    Args:
        text (str): For example ``'rand-m7-n4-mstd0.5-inc1'``.

    Returns:
        RandAugmentPolicy: What it says.

    Raises:
        ValueError: It says something else; the message names the section.
    """
    example = "write for example 'rand-m7-n4-mstd0.5-inc1'"
    name, *sections = str(text).split('-')
    if name != 'rand':
        raise ValueError(f"the RandAugment policy {text!r} does not begin with 'rand-': {example}")
    found: dict[str, str] = {}
    for section in sections:
        match = _SECTION.fullmatch(section)
        if match is None or match[1] in found:
            problem = 'is not known' if match is None else 'comes twice'
            raise ValueError(
                f'in the RandAugment policy {text!r} the section {section!r} '
                f'{problem}. There are m, n, mstd and inc, each with a '
                f'number: {example}'
            )
        found[match[1]] = match[2]
    for key, lowest, highest in (('m', 0, _HIGHEST_MAGNITUDE), ('n', 1, 100)):
        value = found.get(key, '1')
        if not value.isdigit() or not lowest <= int(value) <= highest:
            raise ValueError(
                f'in the RandAugment policy {text!r} {key} must be a whole '
                f'number from {lowest} to {highest}, got {value}'
            )
    if found.get('inc') != '1':
        raise ValueError(
            f"the RandAugment policy {text!r} has no section 'inc1'. Only "
            'the operations that increase with the magnitude are provided: '
            f'{example}'
        )
    std = float(found.get('mstd', 0))
    return RandAugmentPolicy(
        magnitude=int(found.get('m', _HIGHEST_MAGNITUDE)),
        num_layers=int(found.get('n', 2)),
        magnitude_std='inf' if std > 100 else std,
    )


@TRANSFORMS.register_module()
class RandAugment(BaseTransform):
    """RandAugment, drawn once per clip and the same on all its frames.

    ``n`` operations are drawn with replacement from timm's 15 increasing
    ones; each is then applied with probability 0.5, with a magnitude drawn
    from N(m, mstd) and clipped to [0, 10], and a random sign where it has
    one. Operations, ranges and drawing are those of
    ``mmpretrain.RandAugment`` (``timm_increasing``); MMPretrain is imported
    when the transform is built. What an operation measures on a picture
    (AutoContrast, Equalize, Contrast), it measures on each frame.

    The paper's notation (9, 0.5) is ``'rand-m9-mstd0.5-inc1'``; the public
    video recipes have ``'rand-m7-n4-mstd0.5-inc1'``.

    It comes after decoding and before ``mmaction.FormatShape``; on smaller
    frames, after cropping, it costs less. ``np.random`` is drawn from as
    often for any number of frames.

    Required and changed key: ``imgs``, RGB, a list of uint8 arrays (H, W, 3)
    or one uint8 array (T, H, W, 3), whose shapes stay as they are.

    Sources: https://arxiv.org/abs/1909.13719 and timm's
    ``rand_augment_transform``.

    Args:
        policy (str): See :func:`parse_policy`. Defaults to
            ``'rand-m7-n4-mstd0.5-inc1'``.
        pad_val (int): Value of pixels that come in from outside, 0 to 255.
            Defaults to 128.
        interpolation (str): For rotating, shearing and translating:
            ``'nearest'``, ``'bilinear'``, ``'bicubic'``, ``'area'`` or
            ``'lanczos'``. Defaults to ``'bicubic'``.

    Raises:
        ValueError: ``policy`` cannot be read (see :func:`parse_policy`), the
            interpolation is unknown, or ``pad_val`` is no pixel's value.
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
                f'unknown interpolation {interpolation!r}: '
                f'choose one of {", ".join(interpolations)}'
            )
        if not 0 <= pad_val <= 255:
            raise ValueError(f'pad_val must be from 0 to 255, got {pad_val}')
        self.policy = policy
        self.pad_val = pad_val
        self.interpolation = interpolation
        self.augment = _build_mmpretrains(parse_policy(policy), pad_val, interpolation)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Augment all frames alike.

        Args:
            results (dict): With ``imgs``.

        Returns:
            dict: The same, with other frames.

        Raises:
            KeyError: There are no frames yet.
            ValueError: The frames are not uint8 RGB, or there are boxes,
                which would not be moved along.
        """
        if results.get('gt_bboxes') is not None:
            raise ValueError(
                'RandAugment moves the pixels but not the boxes '
                '(gt_bboxes): leave it out for detection'
            )
        frames = rgb_frames(results, 'RandAugment')
        for index in self.augment.random_policy_indices():
            frames = _apply(self.augment.transforms[index], frames)
        put_frames(results, frames)
        return results

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(policy={self.policy!r}, '
            f'pad_val={self.pad_val}, '
            f'interpolation={self.interpolation!r})'
        )


def _build_mmpretrains(
    policy: RandAugmentPolicy, pad_val: int, interpolation: str
) -> BaseTransform:
    """``mmpretrain.RandAugment``, which draws, with its operations."""
    try:
        from mmpretrain.datasets.transforms.auto_augment import RANDAUG_POLICIES
    except ImportError as error:
        raise ImportError(
            'RandAugment takes its operations from MMPretrain, which cannot '
            f'be imported ({error}): pip install "mmpretrain>=1.2.0"'
        ) from error
    # With scopes, as any default scope may be in force.
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
            # Of one number, mmcv's imrotate fills the first channel only.
            hparams=dict(pad_val=[pad_val] * 3, interpolation=interpolation, prob=0.5),
        )
    )


def _apply(operation: BaseTransform, frames: list[np.ndarray]) -> list[np.ndarray]:
    """Apply one operation of MMPretrain to all frames with the same draw."""
    state = np.random.get_state()
    if operation.random_disable():
        return frames
    name = type(operation).__name__
    if name in _QUICKER:
        return [np.array(_QUICKER[name](Image.fromarray(frame))) for frame in frames]
    if name in _BY_VALUE:
        np.random.set_state(state)
        table = operation(dict(img=_ALL_VALUES))['img'][0, :, 0]
        return [cv2.LUT(frame, np.ascontiguousarray(table)) for frame in frames]
    changed = []
    for frame in frames:
        np.random.set_state(state)
        if name in _IN_BGR:
            bgr = operation(dict(img=_swap_red_and_blue(frame)))['img']
            changed.append(_swap_red_and_blue(bgr))
        else:
            changed.append(operation(dict(img=frame))['img'])
    return changed


def _swap_red_and_blue(frame: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
