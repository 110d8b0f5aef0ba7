"""Mean attention distance of each head (AMD, figure 4)."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor, nn

from ..errors import ConfigError
from .style import COLOURS, save_figure, styled, write_table


@dataclass(frozen=True)
class Distances:
    """Mean attention distances of a model.

    Attributes:
        space: (L, H), for each block and head: pixels within the frame.
        time: (L, H), frames; None for images.
        uniform: both distances for a head that attends evenly to all patches.
        patch: side of a patch, pixels.
    """

    space: Tensor
    time: Tensor | None
    uniform: tuple[float, float]
    patch: int


@torch.no_grad()
def attention_distances(backbone: Any, inputs: Tensor) -> Distances:
    """Mean distance between a patch and the patches that it attends to.

    For each query, the distances to all keys are averaged with the attention weights; then the
    mean over queries and clips is taken. The distance is that between the patches' centres within
    the frame. In a video, keys of all frames count, and their distance in time is a second number.
    The class token is left out; the weights of the other keys are normalised to the sum 1.

    Args:
        backbone: a ViT of this package, in evaluation mode. It sees all patches.
        inputs: (B, C, T, H, W), or (B, C, H, W) for images; normalised.

    Raises:
        ConfigError: If a block has no attention with ``qkv`` in one projection.
    """
    places = patch_places(backbone).to(inputs.device)
    sums: list[Any] = [0.0] * backbone.depth  # (H, 2) each

    def add(number: int, attention: nn.Module, given: tuple[Tensor]) -> None:
        query, key = query_key(attention, given[0])
        extra = backbone.num_extra_tokens
        found = weighted_distances(query[:, :, extra:], key[:, :, extra:], places)
        sums[number] = sums[number] + found.sum(0)

    hooks = []
    for number, block in enumerate(backbone.blocks):
        attention: Any = getattr(block, 'attn', None)
        if not hasattr(attention, 'qkv'):
            raise ConfigError(
                f'block {number + 1} ({type(block).__name__}) has no attention with query, key '
                'and value in one projection'
            )
        hooks.append(attention.register_forward_pre_hook(partial(add, number)))
    try:
        for clip in backbone.patchify(inputs).split(1):
            backbone.encode(clip)
    finally:
        for hook in hooks:
            hook.remove()
    mean = torch.stack(sums).cpu() / len(inputs)  # (L, H, 2)
    nothing = torch.zeros(1, 1, len(places), 1, device=inputs.device)
    uniform = weighted_distances(nothing, nothing, places)[0, 0].tolist()
    return Distances(
        space=mean[..., 0],
        time=None if backbone.input_dims == 4 else mean[..., 1],
        uniform=tuple(uniform),
        patch=backbone.patch_shape[1],
    )


def patch_places(backbone: Any) -> Tensor:
    """Position of each patch: (N, 3), frame, row and column, in frames and pixels."""
    axes = [
        torch.arange(count, dtype=torch.float32) * size
        for count, size in zip(backbone.token_grid, backbone.patch_shape)
    ]
    return torch.cartesian_prod(*axes)


def query_key(attention: Any, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Query and key of an attention of MMAction2, MMPretrain or this package.

    Args:
        attention: module with ``qkv`` and ``num_heads``.
        tokens: (B, N, C), the input of the attention.

    Returns:
        (B, H, N, d) each, float32; the query is scaled.
    """
    bias = attention.qkv.bias
    if getattr(attention, 'q_bias', None) is not None:
        bias = torch.cat([attention.q_bias, torch.zeros_like(attention.v_bias), attention.v_bias])
    qkv = nn.functional.linear(tokens, attention.qkv.weight, bias).float()
    # (B, N, 3C) -> (3, B, H, N, d)
    query, key, _ = qkv.unflatten(-1, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
    scale = getattr(attention, 'scale', None) or query.shape[-1] ** -0.5
    return query * scale, key


def weighted_distances(query: Tensor, key: Tensor, places: Tensor, chunk: int = 256) -> Tensor:
    """Distances averaged with the attention weights, mean over the queries.

    Args:
        query: (B, H, N, d), scaled, without class token.
        key: (B, H, N, d).
        places: (N, 3), see :func:`patch_places`.
        chunk: queries at a time, which bounds the memory.

    Returns:
        (B, H, 2): within the frame and in time.
    """
    total = query.new_zeros(*query.shape[:2], 2)
    for some, near in zip(query.split(chunk, dim=2), places.split(chunk)):
        weights = (some @ key.transpose(-1, -2)).softmax(-1)  # (B, H, chunk, N)
        offset = near[:, None] - places  # (chunk, N, 3)
        distance = torch.stack([offset[..., 1:].norm(dim=-1), offset[..., 0].abs()], dim=-1)
        total += torch.einsum('bhqk,qkd->bhd', weights, distance)
    return total / len(places)


@styled
def draw_attention_distances(
    models: Mapping[str, Distances],
    path: str | Path,
    title: str = 'Mean attention distance of each head',
) -> Path:
    """Draw the distances of models side by side.

    A column for each model, with a dot for each head and a line through the blocks' means. The
    dashed line is a head that attends evenly to all patches. The second row is the distance in
    time, if there is a video model.

    Args:
        models: name -> distances.
        path: the picture; its ending is the format.
        title: above the panels.
    """
    rows = 1 + any(one.time is not None for one in models.values())
    figure = Figure(figsize=(max(4.6, 0.6 + 2.7 * len(models)), 1.1 + 2.2 * rows))
    panels = figure.subplots(rows, len(models), sharey='row', squeeze=False)
    for column, (name, one) in zip(panels.T, models.items()):
        column[0].set_title(name)
        _draw_heads(column[0], one.space, one.uniform[0])
        if one.time is not None:
            _draw_heads(column[1], one.time, one.uniform[1])
        elif rows == 2:
            column[1].axis('off')
        column[0 if one.time is None else 1].set_xlabel('block')
    for row, label in zip(panels, ('distance within the frame\n(pixels)', 'in time\n(frames)')):
        first = next(axes for axes in row if axes.has_data())  # an image model has no second row
        first.set_ylabel(label)
        first.tick_params(labelleft=True)
        first.set_ylim(bottom=max(0, first.get_ylim()[0]))
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc='outside lower center', ncols=3)
    figure.suptitle(title)
    return save_figure(figure, path)


def _draw_heads(axes: Axes, values: Tensor, uniform: float) -> None:
    """Draw (L, H) values."""
    blocks = torch.arange(1, len(values) + 1)
    dots: dict[str, Any] = dict(
        marker='o', linestyle='', markersize=4, markeredgewidth=0, alpha=0.5
    )
    axes.axhline(uniform, color='.4', linestyle='--', linewidth=1, label='uniform attention')
    axes.plot(blocks.repeat_interleave(values.shape[1]), values.flatten(), label='one head', **dots)
    axes.plot(blocks, values.mean(1), color=COLOURS[1], label='mean of the block')
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.margins(y=0.15)


def write_attention_distances(models: Mapping[str, Distances], path: str | Path) -> Path:
    """Write a CSV file with a row for each head; ``frames`` is empty for images."""
    rows = []
    for name, one in models.items():
        for block, head in product(*map(range, one.space.shape)):
            pixels = one.space[block, head].item()
            frames = '' if one.time is None else one.time[block, head].item()
            rows.append([name, block + 1, head + 1, pixels, pixels / one.patch, frames])
    return write_table(path, ['model', 'block', 'head', 'pixels', 'tokens', 'frames'], rows)
