"""From the names of a public format to ours, and back."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .errors import CheckpointFormatError
from .formats import FORMATS, Format, detect_format, get_format, looks_at_images
from .names import first_few
from .rules import apply_rules, match_template, revert_rules
from .tables import is_fixed_table
from .unwrapping import unwrap

_JOINT_BIAS = 'qkv.bias'


class Converted(NamedTuple):
    """What a conversion gives.

    Attributes:
        state (dict[str, Tensor]): The renamed weights.
        dropped (dict[str, str]): Name before the conversion -> why it was
            left out.
    """

    state: dict[str, Tensor]
    dropped: dict[str, str]


def _check_kind(state: Mapping[str, Tensor], table: Format) -> None:
    """Refuse an image ViT where video is expected, and the reverse."""
    images = looks_at_images(state)
    if table.images is None or images in (None, table.images):
        return
    fitting = ', '.join(one.name for one in FORMATS.values() if one.images in (None, images))
    kinds = ('an image' if images else 'a video', 'images' if table.images else 'video')
    raise CheckpointFormatError(
        f'The file holds {kinds[0]} ViT, and {table.name!r} '
        f'({table.description}) is for {kinds[1]}. For this one: {fitting}.'
    )


def to_amd_mm(checkpoint: Mapping[str, Any], fmt: str | None = None) -> Converted:
    """Convert weights of any known format to our names.

    Args:
        checkpoint (Mapping[str, Any]): A checkpoint or a state dict.
        fmt (str, optional): A key of :data:`FORMATS`; recognised when None.

    Returns:
        Converted: Weights in our names (sharing memory with the given ones
        where nothing had to be fused), and what was dropped and why.

    Raises:
        CheckpointFormatError: If the format is not recognised or for the other
            kind of encoder, or a part of the encoder has no counterpart here.
    """
    table = get_format(fmt or detect_format(checkpoint))
    state = unwrap(checkpoint)
    _check_kind(state, table)
    if table.joint_bias:
        state = _split_biases(state)
    state, dropped = _prepare(state, table)
    renamed, unknown = apply_rules(state, table.rules)
    foreign = [name for name in unknown if name.startswith(table.encoder)]
    if foreign:
        raise CheckpointFormatError(
            f'Recognised as {table.name!r} ({table.description}), but these '
            'parts of its encoder have no place in a ViT of ours: '
            f'{first_few(foreign)}.'
        )
    dropped.update(dict.fromkeys(unknown, 'has no counterpart here'))
    return Converted(renamed, dropped)


def from_amd_mm(checkpoint: Mapping[str, Any], fmt: str) -> Converted:
    """Convert weights in our names to another format.

    What the other format has no place for is dropped (a neck, a decoder, a
    head), except for parts of the encoder.

    Args:
        checkpoint (Mapping[str, Any]): A checkpoint or a state dict in our
            names.
        fmt (str): A key of :data:`FORMATS`.

    Returns:
        Converted: Weights in the names of ``fmt`` (sharing memory with the
        given ones), and what was dropped and why.

    Raises:
        CheckpointFormatError: If ``fmt`` is unknown or for the other kind of
            encoder, or a part of the encoder cannot be expressed in it.
    """
    table = get_format(fmt)
    state = unwrap(checkpoint)
    _check_kind(state, table)
    dropped: dict[str, str] = {}
    if not table.stores_tables:
        dropped = {
            name: 'fixed sin-cos table, computed over there'
            for name, tensor in state.items()
            if is_fixed_table(name, tensor)
        }
        state = {name: tensor for name, tensor in state.items() if name not in dropped}
    renamed, unknown = revert_rules(state, table.rules)
    foreign = [name for name in unknown if name.startswith('backbone.')]
    if foreign:
        raise CheckpointFormatError(
            f'{table.name!r} ({table.description}) has no place for these '
            f'parts of the encoder: {first_few(foreign)}.'
        )
    dropped.update(dict.fromkeys(unknown, f'has no counterpart in {table.name}'))
    _add_decoder_table(renamed, table)
    if table.joint_bias:
        renamed = _join_biases(renamed)
    return Converted(renamed, dropped)


def _split_biases(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """One bias of query, key and value as those of query and of value.

    A bias of the key adds the same to every logit of a query, which softmax
    takes out again: leaving it out changes nothing.
    """
    split: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name.endswith(_JOINT_BIAS):
            block = name.removesuffix(_JOINT_BIAS)
            split[f'{block}q_bias'], _, split[f'{block}v_bias'] = tensor.chunk(3)
        else:
            split[name] = tensor
    return split


def _join_biases(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The reverse of :func:`_split_biases`; the key's bias is zeros."""
    joined: dict[str, Tensor] = {}
    for name, tensor in state.items():
        block = name.removesuffix('q_bias')
        if block != name:
            parts = tensor, torch.zeros_like(tensor), state[f'{block}v_bias']
            joined[block + _JOINT_BIAS] = torch.cat(parts)
        elif not name.endswith('v_bias'):
            joined[name] = tensor
    return joined


def _add_decoder_table(state: dict[str, Tensor], table: Format) -> None:
    """Give a decoder over there the table that it keeps in its state dict.

    Their programs load strictly, and know square grids after a class token.
    """
    if table.decoder_table is None or table.decoder_table in state:
        return
    if not {'pos_embed', 'mask_token'} <= set(state):
        return
    side = math.isqrt(state['pos_embed'].shape[1] - 1)
    if 1 + side**2 != state['pos_embed'].shape[1]:
        return
    # Imported here: it costs seconds, and few files need it.
    from amd_mm.models.utils import position_table

    mask_token = state['mask_token']
    places = position_table((1, side, side), mask_token.shape[-1], 'sincos_2d').to(mask_token)
    state[table.decoder_table] = torch.cat([torch.zeros_like(places[:, :1]), places], 1)


def _prepare(state: dict[str, Tensor], table: Format) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Settle other spellings, and take out what has no use here."""
    kept: dict[str, Tensor] = {}
    dropped: dict[str, str] = {}
    for name, tensor in state.items():
        reason = _reason_to_drop(name, tensor, table)
        if reason is not None:
            dropped[name] = reason
            continue
        spelled = _spell(name, table)
        if spelled in kept:
            raise CheckpointFormatError(f'{spelled} is in the file twice, once as {name}.')
        kept[spelled] = tensor
    return kept, dropped


def _reason_to_drop(name: str, tensor: Tensor, table: Format) -> str | None:
    for template, reason in table.unused:
        if match_template(template, name) is not None:
            return reason
    for template in table.zero:
        if match_template(template, name) is None:
            continue
        if torch.count_nonzero(tensor):
            raise CheckpointFormatError(
                f'{name} is not all zeros. VideoMAE has no such bias, so '
                'these weights do not fit it.'
            )
        return 'all zeros, as VideoMAE has it'
    return None


def _spell(name: str, table: Format) -> str:
    for other, usual in table.aliases:
        fields = match_template(other, name)
        if fields is not None:
            return usual.format(**fields)
    return name
