"""From the names of any known format to ours, and back."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from amd_mm.errors import CheckpointError
from torch import Tensor

from .formats import (
    FORMATS,
    Format,
    detect_format,
    first_few,
    get_format,
    is_image_vit,
    is_rotary,
    match,
    unwrap,
)

Grid = tuple[int, int, int]  # tokens along (time, height, width)

# Programs that compute the same table in float32 differ by less: 1e-4 in the angle of token 1568.
_TABLE_ROUNDING = 1e-3


class Converted(NamedTuple):
    """The renamed weights, and why others were dropped (name before the conversion -> reason)."""

    state: dict[str, Tensor]
    dropped: dict[str, str]


def to_amd_mm(checkpoint: Mapping[str, Any], fmt: str | None = None) -> Converted:
    """Convert weights of any known format to our names.

    Args:
        checkpoint: A checkpoint or a state dict.
        fmt: A key of :data:`FORMATS`; recognised if None.

    Returns:
        Weights in our names, which share memory with the given ones unless they had to be
        concatenated.

    Raises:
        CheckpointError: If the format is not recognised or is for the other kind of encoder (image
            or video), or if a part of the encoder has no counterpart here.
    """
    spec = get_format(fmt or detect_format(checkpoint))
    state = unwrap(checkpoint)
    _check_kind(state, spec)
    state, dropped = _clean(state, spec)
    renamed, unknown = _rename(state, spec.rules)
    foreign = [name for name in unknown if name.startswith(spec.encoder)]
    if foreign:
        raise CheckpointError(
            f'The file looks like {spec.name!r} ({spec.description}), but these parts of its '
            f'encoder have no counterpart in our models: {first_few(foreign)}.'
        )
    if not spec.recognised and spec.table:
        _add_table(renamed, spec.table)
    return Converted(renamed, dropped | dict.fromkeys(unknown, 'has no counterpart here'))


def from_amd_mm(checkpoint: Mapping[str, Any], fmt: str) -> Converted:
    """Convert weights in our names to another format.

    Parts that the format does not have are dropped (a neck, a decoder, a head), but never a part
    of the encoder.

    Args:
        checkpoint: A checkpoint or a state dict in our names.
        fmt: A key of :data:`FORMATS`.

    Returns:
        Weights in the names of ``fmt``, which share memory with the given ones where possible.

    Raises:
        CheckpointError: If ``fmt`` is unknown or is for the other kind of encoder, or if it has no
            name for a part of the encoder.
    """
    spec = get_format(fmt)
    state = unwrap(checkpoint)
    _check_kind(state, spec)
    if fmt == 'mmaction' and is_rotary(state):
        raise CheckpointError(
            "MMAction2's ViT has no rotary positions, so it would compute something else from "
            'these weights of V-JEPA 2. Use amd_mm, vjepa2 or vjepa2_huggingface.'
        )
    dropped = {}
    if spec.table:
        dropped = {
            name: 'the fixed sin-cos table, which the other program computes'
            for name, tensor in state.items()
            if is_table(name) and grid_of_table(tensor, spec.table)
        }
        state = {name: tensor for name, tensor in state.items() if name not in dropped}
    renamed, unknown = _rename(state, ((rule.ours, rule.theirs) for rule in spec.rules))
    foreign = [name for name in unknown if name.startswith('backbone.')]
    if foreign:
        raise CheckpointError(
            f'{spec.name!r} ({spec.description}) has no name for these parts of the encoder: '
            f'{first_few(foreign)}.'
        )
    dropped |= dict.fromkeys(unknown, f'has no counterpart in {spec.name}')
    for name in list(renamed):
        for template, reason in spec.unwritten:
            if match(template, name) is not None:
                del renamed[name]
                dropped[name] = reason
    _add_unused_norms(renamed, spec)
    _add_decoder_tables(renamed, spec)
    return Converted(renamed, dropped)


def _check_kind(state: Mapping[str, Tensor], spec: Format) -> None:
    """Refuse an image ViT in a video format, and the reverse."""
    images = is_image_vit(state)
    if None in (images, spec.images) or images == spec.images:
        return
    fitting = ', '.join(one.name for one in FORMATS.values() if one.images in (None, images))
    kinds = ('an image', 'video') if images else ('a video', 'images')
    raise CheckpointError(
        f'The file holds {kinds[0]} ViT, and {spec.name!r} ({spec.description}) is for '
        f'{kinds[1]}. Use one of these formats: {fitting}.'
    )


def _clean(state: dict[str, Tensor], spec: Format) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Unify the spelling of names, and drop weights that are not used here."""
    kept: dict[str, Tensor] = {}
    dropped: dict[str, str] = {}
    for name, tensor in state.items():
        spelled = name
        for other, usual in spec.aliases:
            if (fields := match(other, name)) is not None:
                spelled = usual.format(**fields)
        reasons = [why for template, why in spec.unused if match(template, spelled) is not None]
        if reasons and spec.table and tensor.ndim == 3 and not grid_of_table(tensor, spec.table):
            raise CheckpointError(
                f'{name} is not the fixed table that the programs of {spec.name!r} compute, so the '
                'weights need it; our models cannot use it.'
            )
        if reasons:
            dropped[name] = reasons[0]
        elif spelled in kept:
            raise CheckpointError(f'{spelled} is in the file twice, once as {name}.')
        else:
            kept[spelled] = tensor
    return kept, dropped


def _rename(
    state: Mapping[str, Tensor], rules: Iterable[tuple[tuple[str, ...], tuple[str, ...]]]
) -> tuple[dict[str, Tensor], list[str]]:
    """Names of one side of the rules to those of the other; returns also the unknown names."""
    rules = list(rules)
    renamed: dict[str, Tensor] = {}
    unknown = []
    for name, tensor in state.items():
        for rule in rules:
            fields = next((f for one in rule[0] if (f := match(one, name)) is not None), None)
            if fields is not None:
                break
        else:
            unknown.append(name)
            continue
        old, new = ([one.format(**fields) for one in side] for side in rule)
        if any(one in renamed for one in new):  # by another part of the same tensor
            continue
        if absent := [one for one in old if one and one not in state]:
            raise CheckpointError(
                f'{new[0]} consists of {", ".join(filter(None, old))}, but the file lacks '
                f'{", ".join(absent)}.'
            )
        parts = [state[one] if one else torch.zeros_like(tensor) for one in old]
        whole = parts[0] if len(parts) == 1 else torch.cat(parts)
        pieces = [whole] if len(new) == 1 else whole.chunk(len(new))
        renamed |= {one: piece for one, piece in zip(new, pieces, strict=True) if one}
    return renamed, unknown


def _add_table(state: dict[str, Tensor], kind: str) -> None:
    """Add the encoder's table for 16 frames of 224 x 224, so that no other table replaces it."""
    patch = state.get('backbone.patch_embed.projection.weight')
    if patch is None:
        return
    from amd_mm.models.utils import position_table  # slow to import, and seldom needed

    width, _, *sizes = patch.shape
    time, rows, cols = (total // one for total, one in zip((16, 224, 224), sizes))
    state['backbone.pos_embed'] = position_table((time, rows, cols), width, kind).to(patch)


def _add_unused_norms(state: dict[str, Tensor], spec: Format) -> None:
    """Add norms that change nothing, for programs that load them strictly without using them."""
    for name in list(state):
        for template, unused in spec.identity_norms:
            if (fields := match(template, name)) is not None:
                identity = torch.ones_like if fields['p'] == 'weight' else torch.zeros_like
                state[unused.format(**fields)] = identity(state[name])


def _add_decoder_tables(state: dict[str, Tensor], spec: Format) -> None:
    """Add the fixed tables of decoders, (1, E + N, C), on the grid of the encoder's table."""
    table = state.get('pos_embed')
    for name, token, kind in spec.tables:
        if name in state or token not in state or table is None:
            continue
        if kind == 'sincos_2d':  # a square grid after a class token
            side = math.isqrt(table.shape[1] - 1)
            grid = (1, side, side) if 1 + side**2 == table.shape[1] else None
        else:
            grid = grid_of_table(table, kind)
        if grid is None:
            continue
        from amd_mm.models.utils import position_table  # slow to import, and seldom needed

        places = position_table(grid, state[token].shape[-1], kind).to(state[token])
        state[name] = F.pad(places, (0, 0, table.shape[1] - places.shape[1], 0))


def is_table(name: str) -> bool:
    """Whether a weight of this name, in any format, is a position table."""
    return name.rpartition('.')[2] == 'pos_embed'


def grid_of_table(tensor: Tensor, kind: str, grid: Grid | None = None) -> Grid | None:
    """The grid of a fixed position table (1, N, C); None if it is not one, up to rounding.

    Args:
        tensor: The table. A class token, whose position is zero, may come first.
        kind: One of ``POSITION_TABLES``.
        grid: Its tokens; without it, those of square frames are tried.
    """
    if tensor.ndim != 3:
        return None
    from amd_mm.models.utils import position_table

    tokens, dims = tensor.shape[1:]
    for extra in (0, 1):
        count = tokens - extra
        sides = [one for one in range(1, math.isqrt(count) + 1) if count % one**2 == 0]
        grids = [(count // side**2, side, side) for side in sides]
        if kind == 'sincos_1d':  # it does not depend on the grid
            grids = grids[:1]
        elif grid is not None and math.prod(grid) == count:
            grids = [grid]
        for places in grids:
            try:
                table = position_table(places, dims, kind)
            except ValueError:  # the width or the grid does not suit this kind
                continue
            if same_table(tensor, F.pad(table, (0, 0, extra, 0))):
                return places
    return None


def same_table(one: Tensor, other: Tensor) -> bool:
    """Whether two tables are equal up to the rounding of the coarser of their types."""
    kinds = [table.dtype for table in (one, other) if table.is_floating_point()]
    tolerance = max([_TABLE_ROUNDING, *(torch.finfo(kind).eps for kind in kinds)])
    return one.shape == other.shape and torch.allclose(
        one.detach().float().cpu(), other.detach().float().cpu(), rtol=0, atol=tolerance
    )
