"""Weights in a few words, and the config of the encoder that they belong to."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from amd_mm.errors import ConfigError
from torch import Tensor

from .convert import Grid, grid_of_table
from .formats import is_rotary

_SIZES = {192: 'Ti', 384: 'S', 768: 'B', 1024: 'L', 1280: 'H', 1408: 'g'}
_HEAD_WIDTH = 64  # in published ViTs, except in H and VideoMAE v2's g, which have 16 heads


def collapse(names: Iterable[str], brief: bool = False) -> str:
    """Shorten many names: ``blocks.{0-11}.norm1.bias``.

    Args:
        names: Names of weights.
        brief: Name only the blocks and layers, not the weights in them.
    """
    groups: dict[str, set[int]] = {}
    for name in names:
        if brief:
            block = re.match(r'.*?(?:blocks|layers?|generators)\.\d+(?=\.)', name)
            name = block.group() if block else re.sub(r'\.(weight|bias)$', '', name)
        number = re.search(r'\.(\d+)(?=\.|$)', name)
        if number is None:
            groups.setdefault(name, set())
        else:
            key = f'{name[: number.start(1)]}{{}}{name[number.end(1) :]}'
            groups.setdefault(key, set()).add(int(number.group(1)))
    return ', '.join(
        key.replace('{}', _ranges(numbers), 1) if numbers else key
        for key, numbers in groups.items()
    )


def _ranges(numbers: set[int]) -> str:
    """``{0-3,7}``, or the number itself if there is only one."""
    starts = sorted(one for one in numbers if one - 1 not in numbers)
    ends = sorted(one for one in numbers if one + 1 not in numbers)
    text = ','.join(str(a) if a == b else f'{a}-{b}' for a, b in zip(starts, ends))
    return text if len(numbers) == 1 else f'{{{text}}}'


def group_by_reason(dropped: Mapping[str, str]) -> list[tuple[int, str]]:
    """Summarise dropped weights: (count, "names (reason)") for each reason."""
    groups: dict[str, list[str]] = {}
    for name, reason in dropped.items():
        groups.setdefault(reason, []).append(name)
    return [
        (len(names), f'{collapse(names, brief=True)} ({reason})')
        for reason, names in groups.items()
    ]


def describe_encoder(state: Mapping[str, Tensor], prefix: str = 'backbone.') -> str:
    """An encoder by its size: "ViT-B: 12 blocks, 768 wide, patch 2x16x16, 3 channels, 1568 tokens".

    Args:
        state: Weights in our names.
        prefix: Beginning of the encoder's names.
    """
    block = re.compile(re.escape(prefix) + r'(?:blocks|layers)\.(\d+)\.')
    depth = len({found.group(1) for found in map(block.match, state) if found})
    patch = state.get(f'{prefix}patch_embed.projection.weight')
    if patch is None or patch.ndim not in (4, 5):
        return f'{depth} blocks, no patch embedding'
    width, channels, *size = patch.shape
    kind = f'ViT-{_SIZES[width]}' if width in _SIZES else 'ViT'
    sides = 'x'.join(map(str, size))
    table = state.get(f'{prefix}pos_embed')
    tokens = '' if table is None or table.ndim != 3 else f', {table.shape[1]} tokens'
    return f'{kind}: {depth} blocks, {width} wide, patch {sides}, {channels} channels{tokens}'


def infer_backbone(
    state: Mapping[str, Tensor],
    frames: int | None = None,
    size: int | None = None,
    heads: int | None = None,
) -> dict[str, Any]:
    """Infer the config of a ``VideoVisionTransformer`` from its weights.

    The shapes give width, depth, patch and norms. Heads are taken to be those of the published ViT
    of this width, clips to have 16 frames of 224 x 224 (V-JEPA 2: 256 x 256), unless a position
    table in the file says otherwise.

    Args:
        state: weights in our names.
        frames: frames of a clip, if the position table leaves them open.
        size: height of a frame in pixels, if the position table leaves it open.
        heads: attention heads, if the published ViT of this width has others.

    Raises:
        ConfigError: if these are not the weights of a video ViT, or they leave something open;
            the message names the argument to give.
    """
    patch = state.get('backbone.patch_embed.projection.weight')
    if patch is None or patch.ndim != 5:
        found = 'no video ViT' if patch is None else 'an image ViT'
        raise ConfigError(
            f'the checkpoint holds {found} (patch_embed.projection.weight with 5 dimensions is '
            'needed): give its config'
        )
    width, channels, tubelet, side, other_side = patch.shape
    if side != other_side:
        raise ConfigError(f'patches of {side}x{other_side} pixels: only square ones are supported')
    if heads is None and width % _HEAD_WIDTH:
        raise ConfigError(
            f'tokens are {width} wide, not a multiple of {_HEAD_WIDTH}, so the weights do not tell '
            "the number of attention heads: give the model's config, or --heads where there is one"
        )
    blocks = {
        int(found.group(1))
        for found in (re.match(r'backbone\.blocks\.(\d+)\.', name) for name in state)
        if found
    }
    if not blocks:
        raise ConfigError('the checkpoint has no transformer blocks')
    first = f'backbone.blocks.{min(blocks)}.'
    table = state.get('backbone.pos_embed')
    rotary = is_rotary(state)
    if rotary:  # its positions hold for every grid
        time, space = (frames or 16) // tubelet, (size or 256) // side
    else:
        time, space = _infer_grid(table, tubelet, side, frames, size)
    if heads is None:
        heads = 16 if width == 1280 or (width == 1408 and not rotary) else width // _HEAD_WIDTH
    return dict(
        type='amd_mm.VideoVisionTransformer',
        img_size=space * side,
        patch_size=side,
        in_channels=channels,
        embed_dims=width,
        depth=len(blocks),
        num_heads=heads,
        mlp_ratio=state[f'{first}mlp.layers.0.0.weight'].shape[0] / width,
        qkv_bias=rotary or f'{first}attn.q_bias' in state,
        # any value but 0 creates the parameters, which the file then fills
        init_values=1.0 if f'{first}gamma_1' in state else 0.0,
        num_frames=time * tubelet,
        tubelet_size=tubelet,
        use_mean_pooling='backbone.fc_norm.weight' in state,
        **(dict(pos_embed_type='rope_3d') if rotary else _infer_table(table, (time, space, space))),
    )


def _infer_grid(
    table: Tensor | None, tubelet: int, side: int, frames: int | None, size: int | None
) -> tuple[int, int]:
    """Tokens along time and along height (= width)."""
    time, space = 16 // tubelet, 224 // side
    if table is None:
        return time, space
    tokens = table.shape[1]
    guesses = [(time, round((tokens / time) ** 0.5))]
    if frames is not None and frames >= tubelet:
        time = frames // tubelet
        guesses.append((time, round((tokens / time) ** 0.5)))
    if size is not None and size >= side:
        guesses.append((tokens // (size // side) ** 2, size // side))
    for time, space in guesses:
        if time * space**2 == tokens:
            return time, space
    raise ConfigError(
        f'the position table in the file has {tokens} tokens, not {guesses[-1][0]} times a '
        'square: give the frames of a clip in training (--frames), or the config'
    )


def _infer_table(table: Tensor | None, grid: Grid) -> dict[str, Any]:
    """The arguments for the position table: fixed (which kind) or learned."""
    if table is None:
        return {}
    from amd_mm.models.utils import POSITION_TABLES  # slow to import

    for kind in POSITION_TABLES:
        if grid_of_table(table, kind, grid):
            return dict(pos_embed_type=kind)
    return dict(use_learnable_pos_emb=True)
