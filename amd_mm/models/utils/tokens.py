"""Functions on patches and tokens."""

import torch
from torch import Tensor

# Of red, green and blue, for values up to 255.
IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)

Grid = tuple[int, int, int]
"""Number of tokens of a clip along (time, height, width)."""


def patchify(clip: Tensor, patch: tuple[int, int, int]) -> Tensor:
    """Cut a clip into patches.

    The values of a patch are in the order of a flattened ``Conv3d`` kernel, (channel, time, height,
    width), so that a patch is embedded by a product with the flattened kernel.

    Args:
        clip: (B, C, T, H, W).
        patch: Frames, rows and columns of a patch.

    Returns:
        (B, N, P), tokens in the order (t, h, w), w fastest.

    Raises:
        ValueError: If the patches do not tile the clip.
    """
    batch, channels, *size = clip.shape
    if any(length % side for length, side in zip(size, patch)):
        raise ValueError(
            f'a clip of {size[0]} frames of {size[1]}x{size[2]} cannot be cut into patches of '
            f'{patch[0]} frames of {patch[1]}x{patch[2]}: change the frames or the size in the '
            'pipeline, or tubelet_size or patch_size of the backbone'
        )
    (pt, ph, pw), (t, h, w) = patch, (length // side for length, side in zip(size, patch))
    clip = clip.reshape(batch, channels, t, pt, h, ph, w, pw)
    clip = clip.permute(0, 2, 4, 6, 1, 3, 5, 7)  # -> (B, t, h, w, C, pt, ph, pw)
    return clip.reshape(batch, t * h * w, channels * pt * ph * pw)


def unpatchify(patches: Tensor, grid: Grid, patch: tuple[int, int, int]) -> Tensor:
    """Undo :func:`patchify`: (B, N, P) -> (B, C, T, H, W)."""
    (t, h, w), (pt, ph, pw) = grid, patch
    batch = patches.shape[0]
    clip = patches.reshape(batch, t, h, w, -1, pt, ph, pw)
    clip = clip.permute(0, 4, 1, 5, 2, 6, 3, 7)  # -> (B, C, t, pt, h, ph, w, pw)
    return clip.reshape(batch, -1, t * pt, h * ph, w * pw)


def gather_tokens(tokens: Tensor, ids: Tensor) -> Tensor:
    """Select tokens by their positions ``ids`` (B, K): (B, N, C) -> (B, K, C)."""
    return tokens.gather(1, ids.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))


def token_mask(ids: Tensor, num_tokens: int) -> Tensor:
    """Boolean mask (B, N), true at the positions ``ids`` (B, K)."""
    mask = torch.zeros(ids.shape[0], num_tokens, dtype=torch.bool, device=ids.device)
    return mask.scatter_(1, ids, True)
