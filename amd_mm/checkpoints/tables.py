"""Position tables: fixed ones, and what rounding does to them."""

import torch
from torch import Tensor

Grid = tuple[int, int, int]

# What programs differ by that compute the same table in float32: the angle of
# the last of 1568 tokens is rounded by 1e-4 there.
_ROUNDING = 1e-3


def is_table(name: str) -> bool:
    """Whether a weight of this name, in any format, is a position table."""
    return name.rpartition('.')[2] == 'pos_embed'


def same_table(one: Tensor, other: Tensor) -> bool:
    """Whether two tables are equal up to rounding.

    Args:
        one (Tensor): A table, (1, N, C).
        other (Tensor): Another. What half precision rounds off a sine or
            cosine does not count, if either is of that type.

    Returns:
        bool: Whether shapes are the same and values are near.
    """
    kinds = [t.dtype for t in (one, other) if t.is_floating_point()]
    tolerance = max([_ROUNDING, *(torch.finfo(kind).eps for kind in kinds)])
    return one.shape == other.shape and torch.allclose(
        one.detach().float().cpu(), other.detach().float().cpu(), rtol=0, atol=tolerance
    )


def is_fixed_table(name: str, tensor: Tensor) -> bool:
    """Whether this is the published 1-D sin-cos position table.

    Args:
        name (str): Of the weight, in any format.
        tensor (Tensor): Its values; a table is (1, N, C).

    Returns:
        bool: Whether it is, up to rounding.
    """
    if not is_table(name) or tensor.ndim != 3:
        return False
    # Imported here: it costs seconds, and few files hold a table.
    from mmaction.models.backbones.vit_mae import get_sinusoid_encoding

    table = get_sinusoid_encoding(tensor.shape[1], tensor.shape[2])
    return same_table(tensor, table)


def is_sincos_table(name: str, tensor: Tensor, grid: Grid | None) -> bool:
    """Whether this is a fixed sin-cos table of any kind that models here have.

    Args:
        name (str): Of the weight, in any format.
        tensor (Tensor): Its values, (1, N, C).
        grid (tuple[int, int, int], optional): Its tokens (time, height,
            width); without it only the 1-D table is known.

    Returns:
        bool: Whether it is, up to rounding.
    """
    if is_fixed_table(name, tensor):
        return True
    if grid is None or tensor.ndim != 3:
        return False
    # Imported here: it costs seconds, and few files hold a table.
    from amd_mm.models.utils import position_table

    try:
        table = position_table(grid, tensor.shape[2], 'sincos_3d')
    except ValueError:  # too narrow for it
        return False
    return same_table(tensor, table)
