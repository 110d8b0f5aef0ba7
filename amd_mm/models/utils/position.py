"""Fixed sin-cos position tables, and tables of one grid used on another."""

import torch
import torch.nn.functional as F
from mmaction.models.backbones.vit_mae import get_sinusoid_encoding
from torch import Tensor

from .tokens import Grid

POSITION_TABLES = ('sincos_1d', 'sincos_2d', 'sincos_3d')


def position_table(grid: Grid, dims: int, kind: str = 'sincos_1d') -> Tensor:
    """A fixed table of positions for the tokens of a clip.

    ``sincos_1d`` counts the tokens from 0 to N - 1 through time, rows and
    columns: the published table of VideoMAE and AMD. ``sincos_3d`` gives the
    time, the row and the column a share of the channels each (rows and columns
    an equal even number, time the rest), so that neighbours in each direction
    have similar tables. It is easier to learn from little data. ``sincos_2d``
    is the published table of MAE, for images (one frame): half of the
    channels for the column and then half for the row, of each first all sines
    and then all cosines.

    Args:
        grid (Grid): Tokens along (time, height, width).
        dims (int): Width of a token.
        kind (str): ``sincos_1d``, ``sincos_2d`` or ``sincos_3d``.

    Returns:
        Tensor: (1, N, dims), float32.

    Raises:
        ValueError: If the kind is unknown, the width does not suit it, or
            the grid of ``sincos_2d`` has several frames.
    """
    t, h, w = grid
    if kind == 'sincos_1d':
        return get_sinusoid_encoding(t * h * w, dims)
    if kind == 'sincos_2d':
        return _image_table(grid, dims)
    if kind != 'sincos_3d':
        raise ValueError(f'pos_embed_type is one of {POSITION_TABLES}, got {kind!r}')
    side = dims // 6 * 2
    if side == 0:
        raise ValueError(f'sincos_3d needs a width of 6 or more, got {dims}')
    time = get_sinusoid_encoding(t, dims - 2 * side)[0]
    row = get_sinusoid_encoding(h, side)[0]
    col = get_sinusoid_encoding(w, side)[0]
    table = torch.cat(
        [
            time[:, None, None].expand(t, h, w, -1),
            row[None, :, None].expand(t, h, w, -1),
            col[None, None, :].expand(t, h, w, -1),
        ],
        -1,
    )
    return table.reshape(1, t * h * w, dims)


def _image_table(grid: Grid, dims: int) -> Tensor:
    """MAE's table of a grid (1, rows, columns): (1, N, dims)."""
    frames, rows, cols = grid
    if frames != 1 or dims % 4:
        raise ValueError(
            'sincos_2d is for images (one frame) and widths that are a '
            f'multiple of 4, got {frames} frames and a width of {dims}'
        )
    # In double precision, as the public program computes it.
    step = torch.arange(dims // 4, dtype=torch.float64) / (dims // 4)
    rate = 10000.0**-step
    row = torch.arange(rows, dtype=torch.float64)[:, None] * rate
    col = torch.arange(cols, dtype=torch.float64)[:, None] * rate
    row = torch.cat([row.sin(), row.cos()], 1)[:, None].expand(-1, cols, -1)
    col = torch.cat([col.sin(), col.cos()], 1)[None].expand(rows, -1, -1)
    return torch.cat([col, row], 2).reshape(1, rows * cols, dims).float()


def resize_position_table(table: Tensor, old: Grid, new: Grid) -> Tensor:
    """Resample a table to another grid: bicubic in space, linear in time.

    In space it is what MMAction2's backbone does for another frame size.

    Args:
        table (Tensor): (1, N, C) of the old grid.
        old (Grid): The grid that the table was made for.
        new (Grid): The grid that is wanted.

    Returns:
        Tensor: (1, N', C) of the new grid; ``table`` itself if they agree.
    """
    if old == new:
        return table
    dims = table.shape[-1]
    table = table.reshape(*old, dims).permute(0, 3, 1, 2)  # T C H W
    if old[1:] != new[1:]:
        table = F.interpolate(table, size=new[1:], mode='bicubic', align_corners=False)
    if old[0] != new[0]:
        table = table.permute(2, 3, 1, 0).flatten(0, 1)  # HW C T
        table = F.interpolate(table, size=new[0], mode='linear', align_corners=False)
        table = table.permute(2, 0, 1)  # T HW C
        return table.reshape(1, -1, dims)
    return table.permute(0, 2, 3, 1).reshape(1, -1, dims)
