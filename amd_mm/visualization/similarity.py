"""How alike the blocks of two models are: linear CKA."""

import csv
from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from .errors import VisualizationError
from .figures import plain, save_figure
from .model_files import Encoder
from .reconstructions import evaluating

_VALUES = 8
"""Up to so many blocks on both sides every value is written."""


def linear_cka(one: Tensor, other: Tensor) -> float:
    """Linear centred kernel alignment of two sets of features.

    ``|Y'X|² / (|X'X| |Y'Y|)`` of centred X and Y, in Frobenius norms
    (Kornblith et al., ICML 2019, equation 6): 1 if they are the same up to
    rotation, reflection and scale. It is exact for the rows given, no
    estimate from mini-batches; with fewer rows than columns it tends to 1
    whatever the features are.

    Args:
        one (Tensor): (n, p), a row for each token.
        other (Tensor): (n, q), of the same tokens.

    Returns:
        float: From 0 to 1; 0 if one of them is constant.

    Raises:
        ValueError: If the rows are not as many.
    """
    return float(cka_matrix([one], [other])[0, 0])


def cka_matrix(mine: Sequence[Tensor], theirs: Sequence[Tensor]) -> Tensor:
    """:func:`linear_cka` of each with each.

    Args:
        mine (Sequence[Tensor]): (n, p) each.
        theirs (Sequence[Tensor]): (n, q) each, rows of the same tokens.

    Returns:
        Tensor: (len(mine), len(theirs)), float64.

    Raises:
        ValueError: If the rows are not as many.
    """
    counts = {len(features) for features in (*mine, *theirs)}
    if len(counts) != 1:
        raise ValueError(
            'features to compare have a row for each token, the same tokens '
            f'in both; got {sorted(counts)} rows'
        )
    dtype = torch.float32
    for features in (*mine, *theirs):
        dtype = torch.promote_types(dtype, features.dtype)
    ours, others = ([_prepare(one, dtype) for one in side] for side in (mine, theirs))
    values = [[_squares(one, other) for other in others] for one in ours]
    return torch.tensor(values, dtype=torch.float64)


def _prepare(features: Tensor, dtype: torch.dtype) -> Tensor:
    """Centre, and scale so that ``|X'X|`` is 1."""
    centred = features.double() - features.double().mean(0)
    # To a moderate size first: the fourth power is taken below.
    centred = centred / centred.norm().clamp_min(1e-300)
    centred = centred.to(dtype)
    size = _squares(centred, centred) ** 0.25
    return centred / size if size else centred


def _squares(one: Tensor, other: Tensor) -> float:
    """``|X'Y|²``, by way of the smaller of its two forms."""
    if len(one) < min(one.shape[1], other.shape[1]):
        kernels = (one @ one.T).double(), (other @ other.T).double()
        return float((kernels[0] * kernels[1]).sum())
    return float((one.T @ other).double().square().sum())


@torch.no_grad()
def block_features(encoder: Encoder, inputs: Tensor, token_ids: Tensor) -> list[Tensor]:
    """Features of some patches after every block.

    Args:
        encoder (Encoder): From
            :func:`~amd_mm.visualization.model_files.load_backbone`.
        inputs (Tensor): (B, C, T, H, W), or (B, C, H, W) for images; uint8.
            They are seen whole.
        token_ids (Tensor): (B, K), int64, whose features are kept.

    Returns:
        List[Tensor]: (B * K, width) for each block, before any final norm, on
        the CPU; no class token is among them.
    """
    backbone = encoder.backbone
    device = next(backbone.parameters()).device
    patches = encoder.patches(inputs.to(device))
    layers = range(1, backbone.depth + 1)
    kept: list[list[Tensor]] = [[] for _ in layers]
    with evaluating(backbone):
        for clip, ids in zip(patches.split(1), token_ids.to(device)):
            features = backbone.encode(clip, layers=layers, stop_early=True)
            for block, tokens in zip(kept, features.layers):
                chosen = tokens[0, backbone.num_extra_tokens + ids]
                block.append(chosen.float().cpu())
    return [torch.cat(block) for block in kept]


def sample_tokens(clips: int, tokens: int, rows: int, seed: int = 0) -> Tensor:
    """Choose tokens to compare, others in each clip.

    Args:
        clips (int): How many clips there are.
        tokens (int): Of a clip.
        rows (int): How many to choose in all, at most.
        seed (int): Another one chooses others.

    Returns:
        Tensor: (clips, K), int64.
    """
    generator = torch.Generator().manual_seed(seed)
    keep = max(1, min(tokens, rows // clips))
    order = torch.rand(clips, tokens, generator=generator).argsort(1)
    return order[:, :keep].sort(1).values


def check_comparable(student: Encoder, teacher: Encoder) -> None:
    """Raise a VisualizationError unless both make the same grid of tokens."""
    mine, theirs = student.backbone.token_grid, teacher.backbone.token_grid
    if tuple(mine) != tuple(theirs):
        raise VisualizationError(
            'features are compared token by token, and the grids (time, '
            f"rows, columns) differ: the student's is {tuple(mine)}, the "
            f"teacher's {tuple(theirs)}"
        )


def draw_similarity(
    values: Tensor,
    path: str | Path,
    pairs: Sequence[tuple[int, int]] = (),
    names: tuple[str, str] = ('student', 'teacher'),
    title: str = 'Likeness of features (linear CKA)',
) -> Path:
    """Draw how alike the blocks of two models are.

    Args:
        values (Tensor): (student's blocks, teacher's blocks), from 0 to 1.
        path (str | Path): The picture to write; its ending is the format.
        pairs (Sequence[Tuple[int, int]]): Blocks of student and teacher,
            counted from 1, that are aligned in training: framed.
        names (Tuple[str, str]): Of the two models, for the axes.
        title (str): Over the picture.

    Returns:
        Path: The picture.
    """
    rows, columns = values.shape
    figure = Figure(
        figsize=(min(10, max(4.8, 2.4 + 0.3 * columns)), min(10, max(3.6, 1.6 + 0.3 * rows))),
        layout='constrained',
    )
    axes = figure.subplots()
    image = axes.imshow(values, cmap='viridis', vmin=0, vmax=1, origin='lower', aspect='auto')
    for axis, count in ((axes.xaxis, columns), (axes.yaxis, rows)):
        step = 1 if count <= 12 else 2 if count <= 24 else 4
        blocks = [n for n in range(1, count + 1) if n % step == 0]
        axis.set_ticks([n - 1 for n in blocks], [str(n) for n in blocks])
    axes.set_xlabel(f'block of the {plain(names[1])}')
    axes.set_ylabel(f'block of the {plain(names[0])}')
    if max(rows, columns) <= _VALUES:
        for (row, column), value in zip(
            torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).tolist(),
            values.flatten().tolist(),
        ):
            axes.text(
                column,
                row,
                f'{value:.2f}',
                ha='center',
                va='center',
                fontsize=9,
                color='black' if value > 0.6 else 'white',
            )
    for number, (row, column) in enumerate(pairs):
        axes.add_patch(
            Rectangle(
                (column - 1.5, row - 1.5),
                1,
                1,
                fill=False,
                edgecolor='#d55e00',
                linewidth=3,
                clip_on=False,
                zorder=3,
                label='_' * bool(number) + 'aligned in training',
            )
        )
    if pairs:
        figure.legend(loc='outside lower center', fontsize=9, frameon=False)
    figure.colorbar(image, label='linear CKA')
    axes.set_title(plain(title), fontsize=11)
    return save_figure(figure, path)


def write_similarity(values: Tensor, path: str | Path) -> Path:
    """Write likeness as a table, a line for each pair of blocks.

    Args:
        values (Tensor): (student's blocks, teacher's blocks).
        path (str | Path): The ``.csv`` file; its columns are ``student`` and
            ``teacher`` (blocks, from 1) and ``cka``.

    Returns:
        Path: The file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open('w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(['student', 'teacher', 'cka'])
        for row, line in enumerate(values.tolist(), start=1):
            for column, value in enumerate(line, start=1):
                writer.writerow([row, column, value])
    return path
