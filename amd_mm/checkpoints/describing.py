"""An encoder in a few words, told from its weights."""

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

ENCODER = 'backbone.'
_SIZES = {192: 'Ti', 384: 'S', 768: 'B', 1024: 'L', 1280: 'H', 1408: 'g'}


def block_numbers(names: Iterable[str], encoder: str) -> set[int]:
    """Numbers of the encoder's blocks."""
    pattern = re.compile(re.escape(encoder) + r'(?:blocks|layers)\.(\d+)\.')
    found = filter(None, map(pattern.match, names))
    return {int(one.group(1)) for one in found}


def describe_encoder(state: Mapping[str, Tensor], prefix: str = ENCODER) -> str:
    """An encoder in a few words: "ViT-B: 12 blocks, 768 wide, ...".

    Args:
        state (Mapping[str, Tensor]): Weights in our names.
        prefix (str): What the encoder's names begin with.

    Returns:
        str: Depth, width, patch (frames x height x width, or height x width
        for images) and channels.
    """
    depth = len(block_numbers(state, prefix))
    patch = state.get(f'{prefix}patch_embed.projection.weight')
    if patch is None or patch.ndim not in (4, 5):
        return f'{depth} blocks, no patch embedding'
    width, channels, *size = patch.shape
    kind = f'ViT-{_SIZES[width]}' if width in _SIZES else 'ViT'
    return (
        f'{kind}: {depth} blocks, {width} wide, patch '
        f'{"x".join(map(str, size))}, {channels} channels'
    )
