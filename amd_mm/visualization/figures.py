"""What all figures share: colours, and where they are written."""

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .errors import VisualizationError

PICTURES = ('.png', '.pdf', '.svg', '.jpg')
"""Endings of pictures that can be written."""

# Told apart also by most colour-blind people (Okabe and Ito), without the
# yellow, which is too light for lines.
COLOURS = ('#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#000000')
_DPI = 130


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure, making the folder, and return the path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=_DPI)
    return path


def check_picture(path: str | Path) -> Path:
    """The path, if a picture can be written to one with this ending.

    Raises:
        VisualizationError: If not.
    """
    path = Path(path)
    if path.suffix.lower() not in PICTURES:
        raise VisualizationError(
            f'{path} has to end in {", ".join(PICTURES[:-1])} or {PICTURES[-1]}'
        )
    return path


def figure_pixels(figure: Figure, dpi: int = _DPI) -> np.ndarray:
    """Draw a figure into memory: (H, W, 3), uint8, RGB."""
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def plain(text: str) -> str:
    """A text in which matplotlib sees no formula."""
    return text.replace('$', r'\$')
