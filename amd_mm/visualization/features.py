"""Attention distances of ViTs, and the similarity of their features (linear CKA)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from torch import Tensor, nn

from ..models.utils import rotate
from .plots import COLOURS, save_figure, styled, write_table

_VALUES = 8  # up to this number of blocks, every cell has its value

# -- attention distance (AMD, figure 4) --------------------------------------------------------


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
    """
    places = patch_places(backbone).to(inputs.device)
    extra = backbone.num_extra_tokens
    sums: list[Any] = [0.0] * backbone.depth  # (H, 2) each

    def add(number: int, attention: nn.Module, given: tuple[Tensor, ...]) -> None:
        query, key = query_key(attention, *given)
        found = weighted_distances(query[:, :, extra:], key[:, :, extra:], places)
        sums[number] = sums[number] + found.sum(0)

    hooks = [
        block.attn.register_forward_pre_hook(partial(add, number))
        for number, block in enumerate(backbone.blocks)
    ]
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


def query_key(attention: Any, tokens: Tensor, *rotation: Tensor) -> tuple[Tensor, Tensor]:
    """Query and key of an attention of MMAction2, MMPretrain or this package.

    Args:
        attention: module with ``qkv`` and ``num_heads``.
        tokens: (B, N, C), the input of the attention.
        rotation: cosines and sines of rotary positions, if it has these.

    Returns:
        (B, H, N, d) each, float32; the query is scaled.
    """
    bias = attention.qkv.bias
    if getattr(attention, 'q_bias', None) is not None:
        bias = torch.cat([attention.q_bias, torch.zeros_like(attention.v_bias), attention.v_bias])
    qkv = nn.functional.linear(tokens, attention.qkv.weight, bias).float()
    # (B, N, 3C) -> (3, B, H, N, d)
    query, key, _ = qkv.unflatten(-1, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
    if rotation:
        query, key = rotate(query, *rotation), rotate(key, *rotation)
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


# -- similarity: linear CKA (Kornblith et al., ICML 2019) --------------------------------------


def linear_cka(one: Tensor, other: Tensor) -> float:
    """Linear centred kernel alignment of (n, p) and (n, q) features of the same n tokens.

    ``|Y'X|² / (|X'X| |Y'Y|)`` of centred X and Y, in Frobenius norms (equation 6): 1 if they are
    equal up to rotation, reflection and scale. The value is exact for these rows. With fewer rows
    than columns it tends to 1 for any features.

    Returns:
        From 0 to 1; 0 if one of them is constant.
    """
    return cka_matrix([one], [other]).item()


def cka_matrix(mine: Sequence[Tensor], theirs: Sequence[Tensor]) -> Tensor:
    """:func:`linear_cka` of each with each.

    Returns:
        (len(mine), len(theirs)), float64.

    Raises:
        ValueError: If the numbers of rows differ.
    """
    counts = sorted({len(features) for features in (*mine, *theirs)})
    if len(counts) != 1:
        raise ValueError(f'CKA compares features of the same tokens, got {counts} rows')
    dtype = max((x.dtype for x in (*mine, *theirs)), key=lambda one: torch.finfo(one).bits)
    ours, others = ([_normalise(x).to(dtype) for x in side] for side in (mine, theirs))
    values = [_squared_norm(one, other) for one, other in product(ours, others)]
    return torch.tensor(values, dtype=torch.float64).view(len(mine), len(theirs))


def _normalise(features: Tensor) -> Tensor:
    """Centre, and scale to ``|X'X| = 1``."""
    centred = features.double() - features.double().mean(0)
    centred = centred / centred.norm().clamp_min(1e-300)  # before the fourth power below
    size = _squared_norm(centred, centred) ** 0.25
    return centred / size if size else centred


def _squared_norm(one: Tensor, other: Tensor) -> float:
    """``|X'Y|²``, by the smaller of its two forms."""
    if len(one) < min(one.shape[1], other.shape[1]):
        return ((one @ one.T).double() * (other @ other.T).double()).sum().item()
    return (one.T @ other).double().square().sum().item()


@torch.no_grad()
def block_features(backbone: Any, inputs: Tensor, token_ids: Tensor) -> list[Tensor]:
    """Features of some patches after every block, before any final norm.

    Args:
        backbone: a ViT of this package, in evaluation mode. It sees all patches.
        inputs: (B, C, T, H, W), or (B, C, H, W) for images; normalised.
        token_ids: (B, K), int64, the patches to keep.

    Returns:
        (B * K, width) for each block, float32, on the CPU.
    """
    kept: list[list[Tensor]] = [[] for _ in range(backbone.depth)]
    layers = range(1, backbone.depth + 1)
    for clip, ids in zip(backbone.patchify(inputs).split(1), token_ids.to(inputs.device)):
        features = backbone.encode(clip, layers=layers, stop_early=True)
        for block, tokens in zip(kept, features.layers):
            block.append(tokens[0, backbone.num_extra_tokens + ids].float().cpu())
    return [torch.cat(block) for block in kept]


def sample_tokens(clips: int, tokens: int, rows: int, seed: int = 0) -> Tensor:
    """Choose patches at random, others in each clip.

    Args:
        clips: number of clips.
        tokens: number of patches of a clip.
        rows: number of patches to choose in total, at most.
        seed: of the choice.

    Returns:
        (clips, K), int64.
    """
    order = torch.rand(clips, tokens, generator=torch.Generator().manual_seed(seed)).argsort(1)
    return order[:, : max(1, rows // clips)].sort(1).values


@styled
def draw_similarity(
    models: Mapping[str, Tensor],
    path: str | Path,
    pairs: Mapping[str, Sequence[tuple[int, int]]] | None = None,
    title: str = 'Similarity to the teacher (linear CKA)',
) -> Path:
    """Draw the similarity of the blocks of students and of their teacher, side by side.

    Args:
        models: student -> (student's blocks, teacher's blocks), from 0 to 1.
        path: the picture; its ending is the format.
        pairs: student -> blocks of student and teacher, counted from 1, that training aligned:
            framed.
        title: above the panels.
    """
    lowest = min(values.min().item() for values in models.values())
    low = min(0.9, int(lowest * 10) / 10)  # on a scale from 0, high values would look all alike
    rows, columns = (max(values.shape[axis] for values in models.values()) for axis in (0, 1))
    wide, high = (min(5, max(2.4, 0.5 + 0.3 * count)) for count in (columns, rows))
    figure = Figure(figsize=(1.6 + wide * len(models), 1.5 + high))
    panels = figure.subplots(1, len(models), sharey=True, squeeze=False)[0]
    frame: Rectangle | None = None
    for axes, (name, values) in zip(panels, models.items()):
        image = axes.imshow(values, cmap='viridis', vmin=low, vmax=1, origin='lower', aspect='auto')
        axes.grid(visible=False)
        axes.set(title=name, xlabel='block of the teacher')
        for axis, count in ((axes.xaxis, columns), (axes.yaxis, rows)):
            step = 1 if count <= 12 else 2 if count <= 24 else 4
            axis.set_ticks(range(step - 1, count, step), map(str, range(step, count + 1, step)))
        if max(rows, columns) <= _VALUES:
            for row, column in product(*map(range, values.shape)):
                value = values[row, column].item()
                colour = 'black' if value > low + 0.6 * (1 - low) else 'white'
                text = f'{value:.2f}'
                axes.text(column, row, text, color=colour, ha='center', va='center', fontsize=8)
        for row, column in (pairs or {}).get(name, ()):
            frame = Rectangle((column - 1.5, row - 1.5), 1, 1, fill=False, edgecolor=COLOURS[1])
            frame.set(linewidth=3, clip_on=False, zorder=3)
            axes.add_patch(frame)
    panels[0].set_ylabel('block of the student')
    if frame is not None:
        figure.legend([frame], ['aligned in training'], loc='outside lower center')
    figure.colorbar(image, ax=list(panels), fraction=0.05, pad=0.02, label='linear CKA')
    figure.suptitle(title)
    return save_figure(figure, path)


def write_similarity(models: Mapping[str, Tensor], path: str | Path) -> Path:
    """Write a CSV file with a row for each student and pair of blocks, counted from 1."""
    rows = [
        [name, row + 1, column + 1, values[row, column].item()]
        for name, values in models.items()
        for row, column in product(*map(range, values.shape))
    ]
    return write_table(path, ['model', 'student', 'teacher', 'cka'], rows)
