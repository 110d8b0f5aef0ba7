"""Sin-cos position tables, their resampling to another grid, and rotary positions."""

import torch
import torch.nn.functional as F
from mmaction.models.backbones.vit_mae import get_sinusoid_encoding
from torch import Tensor

from .tokens import Grid

POSITION_TABLES = ('sincos_1d', 'sincos_2d', 'sincos_3d', 'sincos_3d_strong', 'sincos_3d_mvd')


def position_table(grid: Grid, dims: int, kind: str = 'sincos_1d') -> Tensor:
    """Fixed position table of a grid of tokens.

    Args:
        grid: Tokens along (time, height, width).
        dims: Width of a token.
        kind: ``sincos_1d`` encodes the token's number, as VideoMAE and AMD do. ``sincos_2d``
            is MAE's table for images: half of the channels for the column, then half for the row.
            ``sincos_3d`` encodes time, row and column in separate channels. ``sincos_3d_strong``
            is three times as large: on a grid of a few places most channels hardly vary.
            ``sincos_3d_mvd`` is MVD's: a quarter of the channels for the time, then 3/8 for the
            column, then 3/8 for the row.

    Returns:
        (1, N, dims), float32.

    Raises:
        ValueError: If the kind is unknown or does not suit the grid or the width.
    """
    if kind == 'sincos_1d':
        return get_sinusoid_encoding(grid[0] * grid[1] * grid[2], dims)
    if kind == 'sincos_2d':
        return _sincos_2d(grid, dims)
    if kind == 'sincos_3d':
        return _sincos_3d(grid, dims)
    if kind == 'sincos_3d_strong':
        return 3 * _sincos_3d(grid, dims)
    if kind == 'sincos_3d_mvd':
        return _sincos_3d_mvd(grid, dims)
    raise ValueError(
        f"pos_embed_type must be one of {POSITION_TABLES}, or 'rope_3d' of a video backbone, "
        f'got {kind!r}'
    )


def _sincos_2d(grid: Grid, dims: int) -> Tensor:
    frames, rows, cols = grid
    if frames != 1 or dims % 4:
        raise ValueError(
            'pos_embed_type=sincos_2d needs one frame and a width that is a multiple of 4, got '
            f'{frames} frames and a width of {dims}'
        )
    row = _sines_cosines(rows, dims // 2)[:, None].expand(-1, cols, -1)
    col = _sines_cosines(cols, dims // 2)[None].expand(rows, -1, -1)
    return torch.cat([col, row], 2).reshape(1, rows * cols, dims)


def _sincos_3d_mvd(grid: Grid, dims: int) -> Tensor:
    if dims % 16:
        raise ValueError(
            f'pos_embed_type=sincos_3d_mvd needs a width that is a multiple of 16, got {dims}'
        )
    t, h, w = grid
    time = _sines_cosines(t, dims // 4).view(t, 1, 1, -1).expand(t, h, w, -1)
    col = _sines_cosines(w, dims * 3 // 8).view(1, 1, w, -1).expand(t, h, w, -1)
    row = _sines_cosines(h, dims * 3 // 8).view(1, h, 1, -1).expand(t, h, w, -1)
    return torch.cat([time, col, row], -1).reshape(1, t * h * w, dims)


def _sines_cosines(length: int, dims: int) -> Tensor:
    """Sines, then cosines of positions: (length, dims), float32."""
    # Double precision, as in the public programs.
    rate = 10000.0 ** -(torch.arange(dims // 2, dtype=torch.float64) / (dims // 2))
    angle = torch.arange(length, dtype=torch.float64)[:, None] * rate
    return torch.cat([angle.sin(), angle.cos()], 1).float()


def _sincos_3d(grid: Grid, dims: int) -> Tensor:
    side = dims // 6 * 2  # channels of the row, and of the column; time has the rest
    if side == 0:
        raise ValueError(f'pos_embed_type=sincos_3d needs a width of 6 or more, got {dims}')
    t, h, w = grid
    time = get_sinusoid_encoding(t, dims - 2 * side).view(t, 1, 1, -1).expand(t, h, w, -1)
    row = get_sinusoid_encoding(h, side).view(1, h, 1, -1).expand(t, h, w, -1)
    col = get_sinusoid_encoding(w, side).view(1, 1, w, -1).expand(t, h, w, -1)
    return torch.cat([time, row, col], -1).reshape(1, t * h * w, dims)


def resize_position_table(table: Tensor, old: Grid, new: Grid) -> Tensor:
    """Resample a table (1, N, C) to another grid: bicubic in space, linear in time.

    In space it does the same as MMAction2's backbone for another frame size.
    """
    if old == new:
        return table
    dims = table.shape[-1]
    table = table.reshape(*old, dims).permute(0, 3, 1, 2)  # -> (T, C, H, W)
    if old[1:] != new[1:]:
        table = F.interpolate(table, size=new[1:], mode='bicubic', align_corners=False)
    if old[0] != new[0]:
        table = table.permute(2, 3, 1, 0).flatten(0, 1)  # -> (H * W, C, T)
        table = F.interpolate(table, size=new[0], mode='linear', align_corners=False)
        return table.permute(2, 0, 1).reshape(1, -1, dims)
    return table.permute(0, 2, 3, 1).reshape(1, -1, dims)


def rotary_angles(token_ids: Tensor, grid: Grid, dims: int) -> Tensor:
    """Angles by which V-JEPA 2 turns queries and keys.

    A third of a head's channels turns by the token's time, a third by its row and a third by its
    column; what three even shares leave over does not turn. In each share channel c turns by
    ``place * rate[c mod half]``, so that the two channels of a pair turn by different angles: the
    published weights were trained like this.

    Args:
        token_ids: (B, K), int64, numbers of the tokens in the grid.
        grid: Tokens along (time, height, width).
        dims: Width of a head.

    Returns:
        (B, 1, K, dims), float32.
    """
    _, rows, cols = grid
    places = torch.stack(
        [token_ids // (rows * cols), token_ids // cols % rows, token_ids % cols], -1
    )  # (B, K, 3)
    half = dims // 6
    rates = 10000.0 ** -(torch.arange(half, device=token_ids.device) / half)
    angles = (places[..., None] * rates.repeat(2)).flatten(2)  # -> (B, K, 6 * half)
    return F.pad(angles, (0, dims - 6 * half))[:, None]


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn queries or keys (B, H, K, d), neighbouring channels as pairs (a, b) -> (-b, a)."""
    first, second = x.unflatten(-1, (-1, 2)).unbind(-1)
    turned = torch.stack([-second, first], -1).flatten(-2)
    return (x * cos + turned * sin).to(x.dtype)  # in float32
