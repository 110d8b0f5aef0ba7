"""How far the heads of a ViT look: attention distance."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from .errors import VisualizationError
from .model_files import Encoder
from .reconstructions import evaluating

_BLOCK = 256
"""Queries at a time: memory is (heads x 256 x tokens), not tokens squared."""


class Distances:
    """Mean attention distances of a model.

    Attributes:
        space (Tensor): (L, H), of block and head: pixels within the frame.
        time (Tensor, optional): (L, H), frames; None for images.
        uniform (Tuple[float, float]): The same two figures of a head that
            looks everywhere alike.
        patch (int): Side of a patch, pixels.
        clips (int): That were looked at.
    """

    def __init__(
        self,
        space: Tensor,
        time: Tensor | None,
        uniform: tuple[float, float],
        patch: int,
        clips: int,
    ) -> None:
        self.space, self.time = space, time
        self.uniform, self.patch, self.clips = uniform, patch, clips


@torch.no_grad()
def attention_distances(encoder: Encoder, inputs: Tensor) -> Distances:
    """Mean distance between a token and what it attends to.

    For each query patch the distances to all key patches are averaged with
    the attention weights; then over queries and clips. A distance is that of
    the patches' centres within the frame, in pixels. For video the keys of all
    times take part, and their distance in time, in frames, is a second
    figure. The class token is left out, as a query and (the weights of the
    others are brought back to the sum 1) as a key. Clips are seen whole.

    Weights are computed block by block of queries and never kept.

    Args:
        encoder (Encoder): From
            :func:`~amd_mm.visualization.model_files.load_backbone`.
        inputs (Tensor): (B, C, T, H, W), or (B, C, H, W) for images; uint8.

    Returns:
        Distances: Of all blocks and heads.

    Raises:
        VisualizationError: If a block has no attention of the known kinds.
    """
    backbone = encoder.backbone
    device = next(backbone.parameters()).device
    patches = encoder.patches(inputs.to(device))
    places = token_places(backbone, device)
    sums: list[Any] = [0.0] * backbone.depth

    def keep(number: int, module: nn.Module, tokens: Tensor) -> None:
        query, key = query_key(module, tokens)
        sums[number] = sums[number] + weigh_distances(
            query, key, places, backbone.num_extra_tokens
        ).sum(0)

    with evaluating(backbone):
        hooks = [
            _attention_of(block, number).register_forward_pre_hook(
                lambda module, given, number=number: keep(number, module, given[0])
            )
            for number, block in enumerate(backbone.blocks)
        ]
        try:
            for clip in patches.split(1):
                backbone.encode(clip)
        finally:
            for hook in hooks:
                hook.remove()
    mean = torch.stack(sums).cpu() / len(patches)
    uniform = _uniform(places)
    return Distances(
        space=mean[..., 0],
        time=None if backbone.input_dims == 4 else mean[..., 1],
        uniform=(float(uniform[0]), float(uniform[1])),
        patch=backbone.patch_shape[1],
        clips=len(patches),
    )


def _attention_of(block: nn.Module, number: int) -> Any:
    attention = getattr(block, 'attn', None)
    if not hasattr(attention, 'qkv') or not hasattr(attention, 'num_heads'):
        raise VisualizationError(
            f'block {number + 1} ({type(block).__name__}) has no attention '
            'with query, key and value in one projection'
        )
    return attention


def token_places(backbone: Any, device: Any = 'cpu') -> Tensor:
    """Where the patches of a backbone are.

    Args:
        backbone (nn.Module): One of ours.
        device (torch.device | str): Of the result.

    Returns:
        Tensor: (N, 3), float32: frame, row and column, in frames and pixels.
    """
    steps = [
        torch.arange(count, device=device, dtype=torch.float32) * size
        for count, size in zip(backbone.token_grid, backbone.patch_shape)
    ]
    return torch.cartesian_prod(*steps)


def query_key(attention: Any, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Query and key of MMAction2's, MMPretrain's and our attention.

    Args:
        attention (nn.Module): With ``qkv`` and ``num_heads``.
        tokens (Tensor): (B, N, C), what enters it.

    Returns:
        Tuple[Tensor, Tensor]: (B, H, N, d) each, float32; the query already
        scaled, so that the weights are the softmax of their product.
    """
    bias = attention.qkv.bias
    if getattr(attention, 'q_bias', None) is not None:
        zeros = torch.zeros_like(attention.v_bias)
        bias = torch.cat([attention.q_bias, zeros, attention.v_bias])
    values = nn.functional.linear(tokens, attention.qkv.weight, bias)
    query, key, _ = (
        values.float().unflatten(-1, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
    )
    scale = getattr(attention, 'scale', None)
    return query * (scale or query.shape[-1] ** -0.5), key


def weigh_distances(
    query: Tensor, key: Tensor, places: Tensor, extra_tokens: int = 0, block: int = _BLOCK
) -> Tensor:
    """Distances, averaged with attention weights and over the queries.

    Args:
        query (Tensor): (B, H, E + N, d), scaled.
        key (Tensor): (B, H, E + N, d).
        places (Tensor): (N, 3): frame, row and column of the patches.
        extra_tokens (int): E, class tokens in front, which are left out.
        block (int): Queries at a time.

    Returns:
        Tensor: (B, H, 2): within the frame, and in time.
    """
    query, key = query[:, :, extra_tokens:], key[:, :, extra_tokens:]
    total = query.new_zeros(*query.shape[:2], 2)
    for part, near in _blocks(query, places, block):
        # Without the class token the softmax sums to 1 over the patches.
        weights = (part @ key.transpose(-1, -2)).softmax(-1)
        for index, distance in enumerate(_distances(near, places)):
            total[..., index] += (weights * distance).sum((-2, -1))
    return total / len(places)


def _blocks(query: Tensor, places: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(query.split(size, dim=2), places.split(size))


def _distances(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """(K, N) each: within the frame, and in time, of (K, 3) and (N, 3)."""
    return (
        torch.cdist(one[:, 1:], other[:, 1:], compute_mode='donot_use_mm_for_euclid_dist'),
        (one[:, None, 0] - other[None, :, 0]).abs(),
    )


def _uniform(places: Tensor) -> Tensor:
    """(2,): the distances of weights that are all the same."""
    nothing = places.new_zeros(1, 1, len(places), 1)
    return weigh_distances(nothing, nothing, places)[0, 0].cpu()
