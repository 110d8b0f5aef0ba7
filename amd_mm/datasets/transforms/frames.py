"""Decoded frames, as transforms of a whole clip take them."""

from typing import Any

import numpy as np


def rgb_frames(results: dict[str, Any], user: str) -> list[np.ndarray]:
    """The frames in ``results['imgs']``, checked.

    Args:
        results (dict): With ``imgs``: a list of uint8 arrays (H, W, 3) or one
            uint8 array (T, H, W, 3).
        user (str): The transform that asks, for the message.

    Returns:
        list[np.ndarray]: T frames (H, W, 3), not copied.

    Raises:
        KeyError: There are no frames yet.
        ValueError: They are something else, formatted tensors or optical
            flow for instance.
    """
    if 'imgs' not in results:
        raise KeyError(
            f"{user} found no decoded frames ('imgs'): it has to come after the decoding transform"
        )
    frames = list(results['imgs'])
    for frame in frames:
        shape = np.shape(frame)
        dtype = getattr(frame, 'dtype', type(frame).__name__)
        if dtype != np.uint8 or len(shape) != 3 or shape[-1] != 3:
            raise ValueError(
                f'{user} takes RGB frames, uint8 arrays (height, width, 3), '
                f'but got {dtype} of shape {shape}: it has to come before '
                'normalising and mmaction.FormatShape'
            )
    return frames


def put_frames(results: dict[str, Any], frames: list[np.ndarray]) -> None:
    """Store frames in the form in which they were: list or array.

    Args:
        results (dict): ``imgs`` is replaced.
        frames (list[np.ndarray]): T frames (H, W, 3).
    """
    is_array = isinstance(results['imgs'], np.ndarray)
    results['imgs'] = np.stack(frames) if is_array and frames else frames
