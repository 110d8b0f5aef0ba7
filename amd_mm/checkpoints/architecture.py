"""The backbone's config, read from the shapes of its weights."""

import re
from collections.abc import Mapping
from typing import Any

from amd_mm.errors import ConfigError
from torch import Tensor

from .convert import Grid, is_sincos_table

HEAD_WIDTH = 64  # in all published ViTs
PATCH_WEIGHT = 'backbone.patch_embed.projection.weight'


def infer_backbone(
    state: Mapping[str, Tensor],
    frames: int | None = None,
    size: int | None = None,
    heads: int | None = None,
) -> dict[str, Any]:
    """Infer the config of a ``VideoVisionTransformer`` from its weights.

    The shapes give width, depth, patch and norms. Heads are taken to be 64 wide, clips to have
    16 frames of 224 x 224, unless a position table in the file says otherwise.

    Args:
        state: weights in our names.
        frames: frames of a clip, if the position table leaves them open.
        size: height of a frame in pixels, if the position table leaves it open.
        heads: attention heads, if they are not 64 wide.

    Raises:
        ConfigError: if these are not the weights of a video ViT, or they leave something open;
            the message names the argument to give.
    """
    patch = state.get(PATCH_WEIGHT)
    if patch is None or patch.ndim != 5:
        found = 'no video ViT' if patch is None else 'an image ViT'
        raise ConfigError(
            f'the checkpoint holds {found} ({PATCH_WEIGHT} with 5 dimensions is needed): '
            'give its config'
        )
    width, channels, tubelet, side, other_side = patch.shape
    if side != other_side:
        raise ConfigError(f'patches of {side}x{other_side} pixels: only square ones are supported')
    if heads is None and width % HEAD_WIDTH:
        raise ConfigError(
            f'tokens are {width} wide, not a multiple of {HEAD_WIDTH}, so the weights do not tell '
            'the number of attention heads: give it (--heads), or the config'
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
    time, space = _infer_grid(table, tubelet, side, frames, size)
    return dict(
        type='amd_mm.VideoVisionTransformer',
        img_size=space * side,
        patch_size=side,
        in_channels=channels,
        embed_dims=width,
        depth=len(blocks),
        num_heads=heads or width // HEAD_WIDTH,
        mlp_ratio=state[f'{first}mlp.layers.0.0.weight'].shape[0] / width,
        qkv_bias=f'{first}attn.q_bias' in state,
        # any value but 0 creates the parameters, which the file then fills
        init_values=1.0 if f'{first}gamma_1' in state else 0.0,
        num_frames=time * tubelet,
        tubelet_size=tubelet,
        use_mean_pooling='backbone.fc_norm.weight' in state,
        **_infer_table(table, (time, space, space)),
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
    for kind in ('1d', '3d'):
        if is_sincos_table(table, grid, kinds=(kind,)):
            return dict(pos_embed_type=f'sincos_{kind}')
    return dict(use_learnable_pos_emb=True)
