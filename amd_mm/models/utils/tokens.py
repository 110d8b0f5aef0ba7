"""Pure functions on patches and tokens, with the shape of every tensor."""

import torch
from torch import Tensor

Grid = tuple[int, int, int]
"""Tokens of a clip along (time, height, width)."""


def patchify(clip: Tensor, patch: tuple[int, int, int]) -> Tensor:
    """Cut a clip into patches, once for everything that needs them.

    The values of a patch are in the order (channel, time, height, width), the
    order of a flattened ``Conv3d`` kernel, so that embedding a patch is one
    matrix product with the flattened kernel.

    Args:
        clip (Tensor): (B, C, T, H, W).
        patch (Tuple[int, int, int]): Frames, rows and columns of a patch.

    Returns:
        Tensor: (B, N, C * frames * rows * columns), tokens in the order
        (t, h, w), w fastest.

    Raises:
        ValueError: If the clip is not a whole number of patches.
    """
    if clip.ndim != 5:
        raise ValueError(f'a clip is (B, C, T, H, W), got a tensor of shape {tuple(clip.shape)}')
    batch, channels, *size = clip.shape
    if any(s % p for s, p in zip(size, patch)):
        raise ValueError(
            f'a clip of {size[0]} frames of {size[1]}x{size[2]} cannot be cut '
            f'into patches of {patch[0]} frames of {patch[1]}x{patch[2]}: '
            'change the frames or the size in the pipeline, or the '
            'tubelet_size or patch_size of the backbone'
        )
    (t, h, w), (pt, ph, pw) = [s // p for s, p in zip(size, patch)], patch
    clip = clip.reshape(batch, channels, t, pt, h, ph, w, pw)
    clip = clip.permute(0, 2, 4, 6, 1, 3, 5, 7)
    return clip.reshape(batch, t * h * w, channels * pt * ph * pw)


def unpatchify(patches: Tensor, grid: Grid, patch: tuple[int, int, int]) -> Tensor:
    """Put patches back together: the inverse of :func:`patchify`.

    Args:
        patches (Tensor): (B, N, P), values ordered as :func:`patchify` does.
        grid (Grid): Tokens along (time, height, width).
        patch (Tuple[int, int, int]): Frames, rows and columns of a patch.

    Returns:
        Tensor: (B, C, T, H, W).
    """
    (t, h, w), (pt, ph, pw) = grid, patch
    batch = patches.shape[0]
    clip = patches.reshape(batch, t, h, w, -1, pt, ph, pw)
    clip = clip.permute(0, 4, 1, 5, 2, 6, 3, 7)
    return clip.reshape(batch, -1, t * pt, h * ph, w * pw)


def gather_tokens(tokens: Tensor, ids: Tensor) -> Tensor:
    """Take some tokens of each clip.

    Args:
        tokens (Tensor): (B, N, C).
        ids (Tensor): (B, K), int64 positions in [0, N).

    Returns:
        Tensor: (B, K, C).
    """
    index = ids.unsqueeze(-1).expand(-1, -1, tokens.shape[-1])
    return tokens.gather(1, index)


def token_mask(ids: Tensor, num_tokens: int) -> Tensor:
    """Mark some tokens of each clip.

    Args:
        ids (Tensor): (B, K), int64 positions in [0, num_tokens).
        num_tokens (int): Tokens of a clip, N.

    Returns:
        Tensor: (B, N), bool, true at ``ids``.
    """
    mask = torch.zeros(ids.shape[0], num_tokens, dtype=torch.bool, device=ids.device)
    return mask.scatter_(1, ids, True)
