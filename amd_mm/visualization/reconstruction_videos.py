"""Reconstructions that move: the views of clips side by side."""

import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from amd_mm.models.algorithms import Reconstruction
from PIL import Image, ImageDraw
from torch import Tensor

from .annotated_video import fit_text, text_font, write_frames
from .errors import VisualizationError
from .reconstructions import BORROWED, views_of

_CELL = 176  # height of a clip in the picture, pixels
_GAP = 6
_TEXT = 12
_INK = (40, 40, 40)


def write_reconstruction(
    result: Reconstruction,
    patch: tuple[int, int, int],
    path: str | Path,
    names: Sequence[str] | None = None,
    borrows_statistics: bool = False,
    fps: float = 6.0,
) -> Path:
    """Write clips, what student and teacher see, and the reconstruction.

    Args:
        result (Reconstruction): From
            :func:`~amd_mm.visualization.reconstructions.reconstruct`.
        patch (Tuple[int, int, int]): Frames, rows and columns of a token.
        path (str | Path): ``.gif`` or ``.mp4``.
        names (Sequence[str], optional): Of the clips, above each.
        borrows_statistics (bool): See
            :func:`~amd_mm.visualization.draw_reconstruction`.
        fps (float): Frames a second.

    Returns:
        Path: The file.

    Raises:
        VisualizationError: For images, which do not move.
        ValueError: For another ending.
    """
    if result.clip.shape[2] == 1:
        raise VisualizationError(f'{path}: images do not move, write a .png')
    frames = _frames(views_of(result, patch), names, borrows_statistics)
    return write_frames(path, frames, fps, colours=256)


def _frames(
    views: Sequence[tuple[str, Tensor]], names: Sequence[str] | None, borrows_statistics: bool
) -> Iterator[np.ndarray]:
    """Pictures (H, W, 3), uint8: a row for each clip, a view each column."""
    count, _, length, height, width = views[0][1].shape
    cell = _CELL, round(_CELL * width / height)
    page, corners = _page(
        [caption for caption, _ in views],
        names or [''] * count,
        cell,
        BORROWED if borrows_statistics else '',
    )
    for number in range(length):
        picture = page.copy()
        for (row, column), (top, left) in corners.items():
            frame = views[column][1][row, :, number].clamp(0, 1) * 255
            pixels = frame.permute(1, 2, 0).round().byte().cpu().numpy()
            enlarged = cv2.resize(
                pixels,
                cell[::-1],
                interpolation=cv2.INTER_NEAREST if cell[0] > height else cv2.INTER_AREA,
            )
            picture[top : top + cell[0], left : left + cell[1]] = enlarged
        yield picture


def _page(
    captions: Sequence[str], names: Sequence[str], cell: tuple[int, int], note: str
) -> tuple[np.ndarray, dict]:
    """The texts, and (row, column) -> (top, left) of the clips."""
    font, line = text_font(_TEXT), round(1.4 * _TEXT)
    step = cell[1] + _GAP
    width = _even(_GAP + step * len(captions))
    header = _GAP + line * max(text.count('\n') + 1 for text in captions)
    naming = line if any(names) else 0
    footer = _wrap(note, width - 2 * _GAP)
    block = naming + cell[0] + _GAP
    height = _even(header + block * len(names) + line * len(footer) + _GAP)
    page = Image.new('RGB', (width, height), (255, 255, 255))
    draw = ImageDraw.Draw(page)
    for column, text in enumerate(captions):
        for number, part in enumerate(text.split('\n')):
            draw.text(
                (_GAP + column * step, _GAP // 2 + number * line),
                fit_text(part, font, cell[1]),
                fill=_INK,
                font=font,
            )
    corners = {}
    for row, name in enumerate(names):
        top = header + row * block
        draw.text(
            (_GAP, top), fit_text(name, font, width - 2 * _GAP), fill=(110, 110, 110), font=font
        )
        for column in range(len(captions)):
            corners[row, column] = top + naming, _GAP + column * step
    bottom = header + block * len(names)
    for number, text in enumerate(footer):
        draw.text((_GAP, bottom + number * line), text, fill=_INK, font=font)
    return np.asarray(page), corners


def _wrap(text: str, width: int) -> list[str]:
    """Lines of a text that are no wider than so many pixels."""
    font = text_font(_TEXT)
    return textwrap.wrap(text, int(width / font.getlength('n')))


def _even(length: int) -> int:
    """H.264 takes even sides only."""
    return length + length % 2
