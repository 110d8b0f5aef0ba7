"""Attention distances of several models, as a picture and as a table."""

import csv
from collections.abc import Mapping
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from .attention import Distances
from .errors import VisualizationError
from .figures import COLOURS, plain, save_figure

UNITS = ('pixels', 'tokens')
_HEADS, _MEAN = COLOURS[0], COLOURS[1]


def draw_attention_distances(
    models: Mapping[str, Distances],
    path: str | Path,
    unit: str = 'pixels',
    title: str = 'Mean attention distance of each head',
) -> Path:
    """Draw the distances of models side by side.

    A column for each model: a dot for each head of each block and a line
    through the blocks' means; a dashed line is a head that looks everywhere
    alike. The first row is the distance within the frame; where there is a
    video model, the second is the distance in time.

    Args:
        models (Mapping[str, Distances]): Name -> distances.
        path (str | Path): The picture to write; its ending is the format.
        unit (str): Within the frame: ``pixels`` of the model's input, or
            ``tokens``, sides of a patch.
        title (str): Over the panels.

    Returns:
        Path: The picture.

    Raises:
        VisualizationError: If the unit is unknown.
    """
    if unit not in UNITS:
        raise VisualizationError(f'the unit is one of {UNITS}, got {unit!r}')
    rows = 1 + any(one.time is not None for one in models.values())
    figure = Figure(
        figsize=(max(4.6, 0.6 + 2.7 * len(models)), 1.1 + 2.6 * rows), layout='constrained'
    )
    panels = figure.subplots(rows, len(models), sharey='row', squeeze=False)
    for column, (name, one) in zip(panels.T, models.items()):
        size = one.patch if unit == 'tokens' else 1
        column[0].set_title(plain(name), fontsize=10)
        _draw(column[0], one.space / size, one.uniform[0] / size)
        last = column[0]
        if one.time is not None:
            last = column[1]
            _draw(last, one.time, one.uniform[1])
        elif rows == 2:
            column[1].axis('off')
        last.set_xlabel('block', fontsize=9)
    labels = (f'distance within the frame\n({unit})', 'in time\n(frames)')
    for line, label in zip(panels, labels):
        # An image model, which has no second row, may come first.
        first = next(axis for axis in line if axis.has_data())
        first.set_ylabel(label, fontsize=9)
        first.tick_params(labelleft=True)
        line[0].set_ylim(0, 1.06 * max(axis.dataLim.y1 for axis in line))
    handles, texts = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, texts, loc='outside lower center', ncols=3, fontsize=9, frameon=False)
    figure.suptitle(plain(title), fontsize=12)
    return save_figure(figure, path)


def _draw(panel: Axes, values: Tensor, uniform: float) -> None:
    """Dots and a line of (L, H) values."""
    blocks = torch.arange(1, len(values) + 1)
    panel.axhline(uniform, color='.4', linestyle='--', linewidth=1, label='uniform')
    panel.plot(
        blocks[:, None].expand_as(values).flatten(),
        values.flatten(),
        'o',
        color=_HEADS,
        alpha=0.5,
        markersize=4,
        markeredgewidth=0,
        label='a head',
    )
    panel.plot(blocks, values.mean(1), color=_MEAN, linewidth=1.8, label='mean of the block')
    panel.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    panel.tick_params(labelsize=8)
    panel.grid(True, alpha=0.25)


def write_attention_distances(models: Mapping[str, Distances], path: str | Path) -> Path:
    """Write the distances as a table, a line for each head.

    Args:
        models (Mapping[str, Distances]): Name -> distances.
        path (str | Path): The ``.csv`` file; its columns are ``model``,
            ``block`` and ``head`` (from 1), ``pixels``, ``tokens`` and, empty
            for images, ``frames``.

    Returns:
        Path: The file.
    """
    lines: list[list[object]] = [['model', 'block', 'head', 'pixels', 'tokens', 'frames']]
    for name, one in models.items():
        for block, values in enumerate(one.space.tolist()):
            for head, value in enumerate(values):
                frames = '' if one.time is None else float(one.time[block, head])
                lines.append([name, block + 1, head + 1, value, value / one.patch, frames])
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open('w', newline='') as file:
        csv.writer(file).writerows(lines)
    return path
