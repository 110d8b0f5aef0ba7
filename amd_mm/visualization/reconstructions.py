"""Pictures of what student and teacher see, and what is made of it."""

from pathlib import Path
from typing import List, Optional, Sequence, Tuple, Union

import numpy as np
import torch
from amd_mm.models.algorithms import Reconstruction
from amd_mm.models.mask_generators import TokenPartition
from amd_mm.models.utils import token_mask
from matplotlib.figure import Figure
from torch import Tensor

from .loss_curves import save_figure

_UNSEEN = (0.93, 0.93, 0.93)
_BORROWED = (
    'The target is normalised patch by patch: brightness and '
    'contrast of a reconstructed patch are those of the true one.'
)


def show_tokens(
    clip: Tensor, token_ids: Tensor, patch: Tuple[int, int, int]
) -> Tensor:
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
    patch: Tuple[int, int, int],
    path: Union[str, Path],
    names: Optional[Sequence[str]] = None,
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
    rows = _rows(result, patch)
    count, length = result.clip.shape[0], result.clip.shape[2]
    frames = np.linspace(0, length - 1, min(length, max_frames)).astype(int)
    height = count * len(rows) + 0.35 * (count - 1)
    figure = Figure(
        figsize=(2.1 + 1.05 * len(frames), 1.3 + 1.08 * height),
        layout='constrained',
    )
    figure.suptitle(title, fontsize=13)
    blocks = figure.subfigures(count, 1, squeeze=False, hspace=0.04)[:, 0]
    for index, block in enumerate(blocks):
        _draw_clip(
            block, [(caption, clips[index]) for caption, clips in rows], frames
        )
        if names is not None:
            block.suptitle(names[index], fontsize=10, color='.3')
    if borrows_statistics:
        figure.supxlabel(_BORROWED, fontsize=8, color='.3')
    return save_figure(figure, path)


def _rows(
    result: Reconstruction, patch: Tuple[int, int, int]
) -> List[Tuple[str, Tensor]]:
    """Captions and clips (B, C, T, H, W), from top to bottom."""
    partition: TokenPartition = result.partition
    total, clip = partition.num_tokens, result.clip.float()

    def share(ids: Tensor) -> str:
        return f'{ids.shape[1]} of {total} tokens'

    rows = [
        ('clip', clip),
        (
            f'student sees\n{share(partition.visible)}',
            show_tokens(clip, partition.visible, patch),
        ),
    ]
    if partition.extra.shape[1]:
        rows.append(
            (
                f'teacher sees\n{share(partition.teacher)}',
                show_tokens(clip, partition.teacher, patch),
            )
        )
    rows.append(('completed\nby the student', result.completed.float()))
    return rows


def _draw_clip(
    block, rows: Sequence[Tuple[str, Tensor]], frames: Sequence[int]
) -> None:
    axes = block.subplots(len(rows), len(frames), squeeze=False)
    for line, (caption, clip) in zip(axes, rows):
        pictures = clip.permute(1, 2, 3, 0).clamp(0, 1).cpu().numpy()
        for axis, frame in zip(line, frames):
            axis.imshow(pictures[frame], interpolation='nearest')
            axis.set(xticks=[], yticks=[])
            for spine in axis.spines.values():
                spine.set_color('.7')
        line[0].set_ylabel(
            caption, rotation=0, ha='right', va='center', fontsize=9
        )
    for axis, frame in zip(axes[-1], frames):
        axis.set_xlabel(f'frame {frame + 1}', fontsize=8, color='.3')
