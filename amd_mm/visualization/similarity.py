"""Similarity of the features of two models: linear CKA (Kornblith et al., ICML 2019)."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from .style import COLOURS, save_figure, styled, write_table

_VALUES = 8  # up to this number of blocks, every cell has its value


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
    values: Tensor,
    path: str | Path,
    pairs: Sequence[tuple[int, int]] = (),
    title: str = 'Similarity of features (linear CKA)',
) -> Path:
    """Draw the similarity of the blocks of two models.

    Args:
        values: (student's blocks, teacher's blocks), from 0 to 1.
        path: the picture; its ending is the format.
        pairs: blocks of student and teacher, counted from 1, that training aligns: framed.
        title: above the picture.
    """
    rows, columns = values.shape
    low = min(0.9, int(values.min() * 10) / 10)  # high values everywhere would look all alike
    figure = Figure(
        figsize=(min(10, max(4.8, 2.4 + 0.3 * columns)), min(10, max(3.6, 1.6 + 0.3 * rows)))
    )
    axes = figure.subplots()
    axes.grid(visible=False)
    image = axes.imshow(values, cmap='viridis', vmin=low, vmax=1, origin='lower', aspect='auto')
    for axis, count in ((axes.xaxis, columns), (axes.yaxis, rows)):
        step = 1 if count <= 12 else 2 if count <= 24 else 4
        blocks = range(step, count + 1, step)
        axis.set_ticks([block - 1 for block in blocks], [str(block) for block in blocks])
    axes.set(xlabel='block of the teacher', ylabel='block of the student', title=title)
    if max(rows, columns) <= _VALUES:
        for row, column in product(range(rows), range(columns)):
            value = values[row, column].item()
            colour = 'black' if value > low + 0.6 * (1 - low) else 'white'
            centre: dict[str, Any] = dict(ha='center', va='center', fontsize=9)
            axes.text(column, row, f'{value:.2f}', color=colour, **centre)
    frame: dict[str, Any] = dict(
        fill=False, edgecolor=COLOURS[1], linewidth=3, clip_on=False, zorder=3
    )
    for row, column in pairs:
        box = Rectangle((column - 1.5, row - 1.5), 1, 1, label='aligned in training', **frame)
        axes.add_patch(box)
    if pairs:
        figure.legend([box], ['aligned in training'], loc='outside lower center')
    figure.colorbar(image, label='linear CKA')
    return save_figure(figure, path)


def write_similarity(values: Tensor, path: str | Path) -> Path:
    """Write a CSV file with a row for each pair of blocks, counted from 1."""
    rows = [
        [row + 1, column + 1, values[row, column].item()]
        for row, column in product(*map(range, values.shape))
    ]
    return write_table(path, ['student', 'teacher', 'cka'], rows)
