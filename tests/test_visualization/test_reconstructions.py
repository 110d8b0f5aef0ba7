"""Pictures show what is seen, where it is, and nothing else."""

from pathlib import Path

import cv2
import pytest
import torch
from amd_mm.models.algorithms import Reconstruction
from amd_mm.models.mask_generators import AsymmetricTubeMaskGenerator
from amd_mm.visualization import draw_reconstruction, show_tokens

PATCH = (2, 8, 8)


def reconstruction(teacher_ratio: float = 0.5) -> Reconstruction:
    generator = AsymmetricTubeMaskGenerator(0.75, teacher_ratio, seed=0)
    clip = torch.rand(2, 3, 8, 32, 32)
    return Reconstruction(clip, clip * 0.5, generator(2, (4, 4, 4)))


def test_show_tokens_keeps_these_and_blanks_the_rest() -> None:
    clip = torch.rand(1, 3, 4, 16, 16)
    # Token 6 of a (2, 2, 2) grid: second time step, second row, first column.
    shown = show_tokens(clip, torch.tensor([[6]]), PATCH)
    kept = (slice(None), slice(None), slice(2, 4), slice(8, 16), slice(0, 8))
    assert torch.equal(shown[kept], clip[kept])
    shown[kept] = shown[0, :, 0, 0, 0].view(3, 1, 1, 1)
    assert all(channel.unique().numel() == 1 for channel in shown[0])


@pytest.mark.parametrize('borrows', [False, True])
def test_draws_with_and_without_the_note(tmp_path: Path, borrows: bool) -> None:
    path = draw_reconstruction(
        reconstruction(),
        PATCH,
        tmp_path / 'new' / 'picture.png',
        names=['first', 'second'],
        borrows_statistics=borrows,
        max_frames=2,
    )
    assert cv2.imread(str(path)).min() == 0


def test_the_teacher_has_a_row_only_if_it_sees_more(tmp_path: Path) -> None:
    heights = [
        cv2.imread(
            str(
                draw_reconstruction(
                    reconstruction(ratio), PATCH, tmp_path / f'{ratio}.png', max_frames=2
                )
            )
        ).shape[0]
        for ratio in (0.5, 0.75)
    ]
    assert heights[0] > heights[1]
