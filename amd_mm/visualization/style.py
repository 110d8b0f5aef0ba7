"""The style of all figures, and how they are saved.

Figures are drawn without a display and without pyplot. ``styled`` decorates a function that
builds and draws a figure, and restores matplotlib's settings afterwards.
"""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from cycler import cycler
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..errors import ConfigError

PICTURES = ('.png', '.pdf', '.svg', '.jpg')
# Okabe and Ito's colours, distinct to most colour-blind people, without the pale yellow.
COLOURS = ('#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#000000')
GOOD, BAD, NEUTRAL = '#2a6fb0', '#c8642b', '#6b8fb3'

styled = rc_context(
    {
        'axes.grid': True,
        'axes.axisbelow': True,
        'axes.labelsize': 9,
        'axes.prop_cycle': cycler(color=COLOURS),
        'axes.spines.right': False,
        'axes.spines.top': False,
        'axes.titlesize': 10,
        'figure.constrained_layout.use': True,
        'figure.dpi': 130,
        'figure.titlesize': 12,
        'grid.alpha': 0.25,
        'legend.fontsize': 9,
        'legend.frameon': False,
        'lines.linewidth': 1.6,
        'text.parse_math': False,  # a name with a dollar is not a formula
        'xtick.labelsize': 8,
        'ytick.labelsize': 8,
    }
)


def check_picture(path: str | Path) -> Path:
    """Check that a picture can be written under this name.

    Raises:
        ConfigError: For an unknown ending.
    """
    path = Path(path)
    if path.suffix.lower() not in PICTURES:
        raise ConfigError(f'{path} has to end in one of {", ".join(PICTURES)}')
    return path


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure; its ending is the format. The folder is created."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path


def figure_pixels(figure: Figure) -> np.ndarray:
    """Draw a figure into an array (H, W, 3), uint8, RGB."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def write_table(path: str | Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    """Write a CSV file. The folder is created."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open('w', newline='', encoding='utf-8') as file:
        csv.writer(file).writerows([header, *rows])
    return path
