"""Pictures of what student and teacher see, and what is made of it."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from amd_mm.models.algorithms import Reconstruction
from amd_mm.models.mask_generators import TokenPartition
from amd_mm.models.utils import token_mask
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from torch import Tensor, nn

from .errors import VisualizationError
from .figures import plain, save_figure

_UNSEEN = (0.93, 0.93, 0.93)
BORROWED = (
    'The target is normalised patch by patch: brightness and '
    'contrast of a reconstructed patch are those of the true one.'
)


def borrows_statistics(model: Any) -> bool:
    """Whether pictures by a model borrow each true patch's mean and deviation.

    Args:
        model (MaskedAutoencoder): With a decoder.
    """
    return model.head.target_type != 'pixels'


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while; after it every module is as it was."""
    before = [(module, module.training) for module in model.modules()]
    try:
        for module, _ in before:
            module.training = False
        yield
    finally:
        for module, mode in before:
            module.training = mode


@torch.no_grad()
def reconstruct(model: Any, inputs: Tensor, seed: int = 0) -> Reconstruction:
    """Complete clips, with masks that depend on the seed alone.

    Everything that the student does not see is decoded, also where training
    decodes a part of it. Random states and the mode of the model are left as
    they were, so that this can be done in the middle of training.

    Args:
        model (MaskedAutoencoder): With a decoder.
        inputs (Tensor): Normalised, see :meth:`MaskedAutoencoder.patches_of`;
            on any device.
        seed (int): Of the masks.

    Returns:
        Reconstruction: On the model's device.

    Raises:
        VisualizationError: If there is no decoder.
        ValueError: If the inputs are not of the backbone's size.
    """
    if not getattr(model, 'reconstructs', False):
        raise VisualizationError(f'a {type(model).__name__} without decoder reconstructs nothing')
    device = next(model.backbone.parameters()).device
    with evaluating(model):
        inputs = inputs.to(device)
        partition = _draw(model, len(model.patches_of(inputs)), seed)
        return model.reconstruct(inputs, _to(partition, device))


def _draw(model: Any, clips: int, seed: int) -> TokenPartition:
    """A partition of so many clips, on the CPU."""
    masks = copy.copy(model.mask_generator)
    masks.random = _Seeded(seed)
    # A generator of another kind may draw from torch's own.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return masks(clips, model.backbone.token_grid, 'cpu')


class _Seeded:
    """What our mask generators draw from, the same in every step."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def get(self, device: str | torch.device) -> torch.Generator:
        return torch.Generator(device).manual_seed(self.seed)


def _to(partition: TokenPartition, device: torch.device) -> TokenPartition:
    return replace(
        partition,
        visible=partition.visible.to(device),
        teacher_only=partition.teacher_only.to(device),
        hidden=partition.hidden.to(device),
        decoded=None,
        generated=None,
    )


def show_tokens(clip: Tensor, token_ids: Tensor, patch: tuple[int, int, int]) -> Tensor:
    """Blank everything of clips but some tokens.

    Args:
        clip (Tensor): (B, C, T, H, W), RGB in [0, 1].
        token_ids (Tensor): (B, K), int64, what stays.
        patch (Tuple[int, int, int]): Frames, rows and columns of a token.

    Returns:
        Tensor: (B, C, T, H, W), light grey where not seen.
    """
    grid = [size // step for size, step in zip(clip.shape[2:], patch)]
    seen = token_mask(token_ids, int(np.prod(grid)))
    seen = seen.view(len(clip), 1, *grid)
    for axis, step in enumerate(patch, start=2):
        seen = seen.repeat_interleave(step, dim=axis)
    grey = clip.new_tensor(_UNSEEN).view(1, 3, 1, 1, 1)
    return torch.where(seen, clip, grey)


def draw_reconstruction(
    result: Reconstruction,
    patch: tuple[int, int, int],
    path: str | Path,
    names: Sequence[str] | None = None,
    borrows_statistics: bool = False,
    max_frames: int = 8,
    title: str = 'What is seen and what is made of it',
) -> Path:
    """Draw clips, what student and teacher see, and the reconstruction.

    Every clip is a block of rows, with time running to the right: the clip,
    what the student sees, what the teacher sees (if it sees more), and the
    clip as the student completes it.

    Args:
        result (Reconstruction): From ``MaskedAutoencoder.reconstruct``.
        patch (Tuple[int, int, int]): Frames, rows and columns of a token:
            ``model.backbone.patch_shape``.
        path (str | Path): The picture to write; its ending is the format.
        names (Sequence[str], optional): Of the clips, for the margin.
        borrows_statistics (bool): Whether the head's target is normalised
            patch by patch, so that the picture borrows each true patch's mean
            and deviation; a note under the picture says so.
        max_frames (int): Frames of a clip to show, evenly spaced.
        title (str): Over the picture.

    Returns:
        Path: The picture.
    """
    figure = reconstruction_figure(result, patch, names, borrows_statistics, max_frames, title)
    return save_figure(figure, path)


def reconstruction_figure(
    result: Reconstruction,
    patch: tuple[int, int, int],
    names: Sequence[str] | None = None,
    borrows_statistics: bool = False,
    max_frames: int = 8,
    title: str = 'What is seen and what is made of it',
) -> Figure:
    """The picture of :func:`draw_reconstruction`, not yet drawn.

    Args:
        result (Reconstruction): See :func:`draw_reconstruction`.
        patch (Tuple[int, int, int]): See :func:`draw_reconstruction`.
        names (Sequence[str], optional): See :func:`draw_reconstruction`.
        borrows_statistics (bool): See :func:`draw_reconstruction`.
        max_frames (int): See :func:`draw_reconstruction`.
        title (str): See :func:`draw_reconstruction`.

    Returns:
        Figure: To be saved or drawn into memory.
    """
    rows, length = views_of(result, patch), result.clip.shape[2]
    if length == 1:
        figure = _images_figure(rows, names)
    else:
        figure = _clips_figure(rows, names, length, max_frames)
    figure.suptitle(plain(title), fontsize=13)
    if borrows_statistics:
        figure.supxlabel(BORROWED, fontsize=8, color='.3')
    return figure


def _images_figure(views: Sequence[tuple[str, Tensor]], names: Sequence[str] | None) -> Figure:
    """A row for each image, a column for each view."""
    count = len(views[0][1])
    figure = Figure(figsize=(0.6 + 2 * len(views), 1.2 + 2.05 * count), layout='constrained')
    axes = figure.subplots(count, len(views), squeeze=False)
    for column, (caption, images) in zip(axes.T, views):
        for axis, image in zip(column, images[:, :, 0]):
            _show(axis, image)
        column[0].set_title(caption, fontsize=9)
    for line, name in zip(axes, names or ()):
        line[0].set_ylabel(_short(name), fontsize=9, color='.3')
    return figure


def _clips_figure(
    views: Sequence[tuple[str, Tensor]], names: Sequence[str] | None, length: int, max_frames: int
) -> Figure:
    """A block for each clip: a row for each view, time to the right."""
    count = len(views[0][1])
    frames = np.linspace(0, length - 1, min(length, max_frames)).astype(int).tolist()
    height = count * len(views) + 0.35 * (count - 1)
    figure = Figure(figsize=(2.1 + 1.05 * len(frames), 1.3 + 1.08 * height), layout='constrained')
    blocks = figure.subfigures(count, 1, squeeze=False, hspace=0.04)[:, 0]
    for index, block in enumerate(blocks):
        _draw_clip(block, [(caption, clips[index]) for caption, clips in views], frames)
        if names is not None:
            block.suptitle(plain(names[index]), fontsize=10, color='.3')
    return figure


def views_of(result: Reconstruction, patch: tuple[int, int, int]) -> list[tuple[str, Tensor]]:
    """What there is to see of clips.

    Args:
        result (Reconstruction): From :func:`reconstruct`.
        patch (Tuple[int, int, int]): Frames, rows and columns of a token.

    Returns:
        List[Tuple[str, Tensor]]: Captions of two lines, and clips
        (B, C, T, H, W), RGB in [0, 1].
    """
    partition: TokenPartition = result.partition
    total, clip = partition.num_tokens, result.clip.float()

    def share(ids: Tensor) -> str:
        return f'{ids.shape[1]} of {total} tokens'

    rows = [
        ('clip' if clip.shape[2] > 1 else 'image', clip),
        (f'student sees\n{share(partition.visible)}', show_tokens(clip, partition.visible, patch)),
    ]
    if partition.teacher_only.shape[1]:
        rows.append(
            (
                f'teacher sees\n{share(partition.teacher)}',
                show_tokens(clip, partition.teacher, patch),
            )
        )
    rows.append(('completed\nby the student', result.completed.float()))
    return rows


def _draw_clip(block: SubFigure, rows: Sequence[tuple[str, Tensor]], frames: Sequence[int]) -> None:
    axes = block.subplots(len(rows), len(frames), squeeze=False)
    for line, (caption, clip) in zip(axes, rows):
        for axis, frame in zip(line, frames):
            _show(axis, clip[:, frame])
        line[0].set_ylabel(caption, rotation=0, ha='right', va='center', fontsize=9)
    for axis, frame in zip(axes[-1], frames):
        axis.set_xlabel(f'frame {frame + 1}', fontsize=8, color='.3')


def _show(axis: Axes, image: Tensor) -> None:
    """Draw an image (3, H, W), RGB in [0, 1]."""
    pixels = image.permute(1, 2, 0).clamp(0, 1).cpu().numpy()
    axis.imshow(pixels, interpolation='nearest')
    axis.set(xticks=[], yticks=[])
    for spine in axis.spines.values():
        spine.set_color('.7')


def _short(name: str, width: int = 24) -> str:
    """A name that fits beside an image; ends tell files apart."""
    return plain(name if len(name) <= width else f'…{name[1 - width :]}')
