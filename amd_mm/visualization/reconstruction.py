"""Clips, the patches that student and teacher see of them, and the student's reconstruction."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from torch import Tensor, nn

from ..datasets.video_reader import printable
from ..errors import ConfigError
from ..models.algorithms import Reconstruction
from ..models.mask_generators import TokenPartition
from ..models.utils import token_mask
from .plots import figure_pixels, save_figure, styled
from .video import MOVING, write_frames

Patch = tuple[int, int, int]  # frames, rows and columns of a token
Views = dict[str, Tensor]  # caption -> (B, C, T, H, W), RGB in [0, 1]

TITLE = 'Input, masks and reconstruction'
BORROWED = (
    'The target is normalised per patch: reconstructed patches take brightness and contrast from '
    'the true ones.'
)
_MASKED = 0.93  # light grey


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside the block; then each module's own mode again."""
    before = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in before:
            module.training = mode


@torch.no_grad()
def reconstruct(model: Any, inputs: Tensor, seed: int = 0) -> Reconstruction:
    """Reconstruct everything that the student does not see.

    The masks depend on the seed only, also during training. Training may decode fewer tokens.

    Args:
        model: a :class:`MaskedAutoencoder` with a decoder. Its mode is left as it was.
        inputs: normalised, see :meth:`MaskedAutoencoder.patches_of`.
        seed: of the masks.
    """
    masks = copy.copy(model.mask_generator)
    masks.random = SimpleNamespace(get=lambda device: torch.Generator(device).manual_seed(seed))
    clips = len(model.patches_of(inputs))
    # Drawn on the CPU: other devices draw other numbers.
    partition = masks(clips, model.backbone.token_grid, 'cpu')
    sets = {
        name: getattr(partition, name).to(inputs.device)
        for name in ('visible', 'teacher_only', 'hidden')
    }
    with evaluating(model):
        return model.reconstruct(inputs, replace(partition, **sets, decoded=None, generated=None))


def borrowed_note(model: Any) -> str:
    """A note for pictures by a model whose target is normalised per patch, else ''."""
    return '' if model.head.target_type == 'pixels' else BORROWED


def show_tokens(clip: Tensor, token_ids: Tensor, patch: Patch) -> Tensor:
    """Replace all but some tokens by light grey.

    Args:
        clip: (B, C, T, H, W), RGB in [0, 1].
        token_ids: (B, K), int64, the tokens that stay.
        patch: frames, rows and columns of a token.
    """
    grid = [size // step for size, step in zip(clip.shape[2:], patch)]
    seen = token_mask(token_ids, int(np.prod(grid))).view(len(clip), 1, *grid)
    for axis, step in enumerate(patch, start=2):
        seen = seen.repeat_interleave(step, dim=axis)  # -> (B, 1, T, H, W)
    return torch.where(seen, clip, torch.full_like(clip, _MASKED))


def views_of(result: Reconstruction, patch: Patch) -> Views:
    """The rows of a picture: input, student's view, teacher's view if it is another, completion."""
    views = masked_views(result.clip.float(), result.partition, patch)
    views['completed\nby the student'] = result.completed.float()
    return views


def masked_views(clip: Tensor, partition: TokenPartition, patch: Patch) -> Views:
    """The first rows of a picture: input, student's view, teacher's view if it is another."""
    views = {'clip' if clip.shape[2] > 1 else 'image': clip}
    for name, ids in (('student', partition.visible), ('teacher', partition.teacher)):
        if name == 'student' or partition.teacher_only.shape[1]:
            caption = f'{name} sees\n{ids.shape[1]} of {partition.num_tokens} tokens'
            views[caption] = show_tokens(clip, ids, patch)
    return views


def draw_reconstruction(
    result: Reconstruction,
    patch: Patch,
    path: str | Path,
    names: Sequence[str] | None = None,
    note: str = '',
    max_frames: int = 8,
    title: str = TITLE,
    fps: float = 6.0,
) -> Path:
    """Draw clips, the patches that student and teacher see, and the reconstruction.

    Args:
        result: from :func:`reconstruct` or ``MaskedAutoencoder.reconstruct``.
        patch: frames, rows and columns of a token, ``model.backbone.patch_shape``.
        path: the picture. ``.gif`` and ``.mp4`` move; in other formats time goes to the right.
        names: of the clips.
        note: below the picture, see :func:`borrowed_note`.
        max_frames: largest number of frames in a picture that does not move, evenly spaced.
        title: above the picture.
        fps: frames per second of ``.gif`` and ``.mp4``.

    Raises:
        ConfigError: For a moving picture of images.
    """
    if Path(path).suffix.lower() not in MOVING:
        return save_figure(
            reconstruction_figure(result, patch, names, note, max_frames, title), path
        )
    length = result.clip.shape[2]
    if length == 1:
        raise ConfigError(f'{path}: images do not move, write a .png')
    figure, shown = _still_figure(views_of(result, patch), names, note, title)
    return write_frames(path, _moving_frames(figure, shown, length), fps)


def reconstruction_figure(
    result: Reconstruction,
    patch: Patch,
    names: Sequence[str] | None = None,
    note: str = '',
    max_frames: int = 8,
    title: str = TITLE,
) -> Figure:
    """The figure of :func:`draw_reconstruction` for pictures that do not move."""
    return views_figure(views_of(result, patch), names, note, max_frames, title)


@styled
def views_figure(
    views: Views,
    names: Sequence[str] | None = None,
    note: str = '',
    max_frames: int = 8,
    title: str = '',
) -> Figure:
    """Views of clips, time to the right; arguments as in :func:`draw_reconstruction`."""
    first = next(iter(views.values()))
    count, length = len(first), first.shape[2]
    if length == 1:
        return _still_figure(views, names, note, title)[0]
    frames = range(0, length, -(-length // max_frames))  # evenly spaced, at most max_frames
    height = 1.3 + 1.08 * (count * len(views) + 0.35 * (count - 1))
    figure = Figure(figsize=(2.1 + 1.05 * len(frames), height))
    blocks = figure.subfigures(count, 1, squeeze=False, hspace=0.04)[:, 0]
    for number, block in enumerate(blocks):
        panels = block.subplots(len(views), len(frames), squeeze=False)
        for row, (caption, clips) in zip(panels, views.items()):
            for axes, frame in zip(row, frames):
                _show(axes, clips[number, :, frame])
            row[0].set_ylabel(caption, rotation=0, ha='right', va='center')
        for axes, frame in zip(panels[-1], frames):
            axes.set_xlabel(f'frame {frame + 1}', fontsize=8, color='.3')
        if names is not None:
            block.suptitle(printable(names[number]), fontsize=10, color='.3')
    figure.suptitle(title)
    figure.supxlabel(note, fontsize=8, color='.3')
    return figure


@styled
def _still_figure(
    views: Views, names: Sequence[str] | None, note: str, title: str
) -> tuple[Figure, list[tuple[AxesImage, Tensor]]]:
    """A row for each image or clip, a column for each view, with the first frames.

    Returns:
        The figure; and for each panel its image and the clip (C, T, H, W) that it shows.
    """
    count = len(next(iter(views.values())))
    figure = Figure(figsize=(0.6 + 2 * len(views), 1.2 + 2.05 * count))
    panels = figure.subplots(count, len(views), squeeze=False)
    shown = []
    for column, (caption, clips) in zip(panels.T, views.items()):
        shown += [(_show(axes, clip[:, 0]), clip) for axes, clip in zip(column, clips)]
        column[0].set_title(caption, fontsize=9)
    for row, name in zip(panels, map(printable, names or ())):
        # The ends of file names distinguish them.
        row[0].set_ylabel(name if len(name) <= 24 else f'…{name[-23:]}', color='.3')
    figure.suptitle(title)
    figure.supxlabel(note, fontsize=8, color='.3', wrap=True)
    return figure, shown


def _moving_frames(
    figure: Figure, shown: Sequence[tuple[AxesImage, Tensor]], length: int
) -> Iterator[np.ndarray]:
    """Pixels of the figure at each time, with even sides for H.264."""
    for frame in range(length):
        for image, clip in shown:
            image.set_data(_pixels(clip[:, frame]))
        pixels = figure_pixels(figure)
        figure.set_layout_engine('none')  # as computed in the first frame
        height, width = pixels.shape[:2]
        yield pixels[: height // 2 * 2, : width // 2 * 2]


def _show(axes: Axes, image: Tensor) -> AxesImage:
    shown = axes.imshow(_pixels(image), interpolation='nearest')
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(visible=True, color='.7')
    return shown


def _pixels(image: Tensor) -> np.ndarray:
    """(3, H, W), RGB in [0, 1] -> (H, W, 3)."""
    return image.permute(1, 2, 0).clamp(0, 1).cpu().numpy()
