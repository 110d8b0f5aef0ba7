"""Reconstructions: the tokens that are shown, masks by seed, still and moving pictures."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from amd_mm.apis import encoder_of, load_model
from amd_mm.datasets import open_video
from amd_mm.datasets.inference import read_clips
from amd_mm.models.algorithms import Reconstruction
from amd_mm.models.mask_generators import AsymmetricTubeMaskGenerator
from amd_mm.registry import MODELS
from amd_mm.visualization.reconstruction import (
    BORROWED,
    borrowed_note,
    draw_reconstruction,
    reconstruct,
    reconstruction_figure,
    show_tokens,
    views_of,
)
from mmengine.config import Config
from PIL import Image

from ..tiny import amd, backbone, build, videomae
from ..tiny_image import image_backbone, mae

PATCH = (2, 8, 8)


def reconstruction(teacher_ratio: float = 0.5, frames: int = 2, clips: int = 1) -> Reconstruction:
    generator = AsymmetricTubeMaskGenerator(0.75, teacher_ratio, seed=0)
    clip = torch.rand(clips, 3, frames, 32, 32)
    return Reconstruction(clip, clip * 0.5, generator(clips, (frames // 2, 4, 4)))


def test_show_tokens_keeps_these_and_blanks_the_rest() -> None:
    clip = torch.rand(1, 3, 4, 16, 16)
    # Token 6 of a (2, 2, 2) grid: second time step, second row, first column.
    shown = show_tokens(clip, torch.tensor([[6]]), PATCH)
    kept = (slice(None), slice(None), slice(2, 4), slice(8, 16), slice(0, 8))
    assert torch.equal(shown[kept], clip[kept])
    shown[kept] = shown[0, :, 0, 0, 0].view(3, 1, 1, 1)
    assert all(channel.unique().numel() == 1 for channel in shown[0])


def test_the_teacher_has_a_row_only_if_it_sees_more() -> None:
    captions = [list(views_of(reconstruction(ratio), PATCH)) for ratio in (0.5, 0.75)]
    assert [caption.split('\n')[0] for caption in captions[0]] == [
        'clip',
        'student sees',
        'teacher sees',
        'completed',
    ]
    assert len(captions[1]) == 3


@pytest.mark.parametrize('most, shown', [(8, range(1, 17, 2)), (5, range(1, 17, 4))])
def test_frames_are_evenly_spaced(most: int, shown: range) -> None:
    figure = reconstruction_figure(reconstruction(frames=16), PATCH, max_frames=most)
    labels = [axes.get_xlabel() for axes in figure.subfigs[-1].axes]
    assert [label for label in labels if label] == [f'frame {number}' for number in shown]


@pytest.mark.parametrize('end', ['.png', '.gif', '.mp4'])
def test_pictures_with_names_and_note(tmp_path: Path, end: str) -> None:
    path = tmp_path / 'new' / f'picture{end}'
    result = reconstruction(frames=2, clips=2)
    draw_reconstruction(result, PATCH, path, ['caf\udce9.mp4', 'an $1$'], BORROWED)
    if end == '.png':
        assert cv2.imread(str(path)).min() == 0
    elif end == '.gif':
        with Image.open(path) as moving:
            assert moving.n_frames == 2
    else:
        with open_video(str(path)) as video:
            frames = np.stack(video.read(range(2)))
        assert frames.std(0).max() > 10  # it moves


def test_equals_the_whole_model_with_its_preprocessor(tmp_path: Path, tiny_videos: list) -> None:
    """Without the teacher, and with the inputs as the tool reads them."""
    cfg = amd()
    cfg['mask_generator']['decoder_ratio'] = 0.5
    whole = build(cfg)
    torch.save(dict(state_dict=whole.state_dict()), tmp_path / 'x.pth')
    loaded = load_model((Config(dict(model=cfg)), tmp_path / 'x.pth'))
    clips = read_clips(loaded.backbone, tiny_videos[:2])
    assert clips.shape == (2, 3, 8, 64, 64)
    batch = dict(inputs=list(clips.unsqueeze(1)), data_samples=None)
    made = whole.data_preprocessor(batch, False)['inputs']
    values = encoder_of(loaded).normalise(clips)
    torch.testing.assert_close(values, made.flatten(0, 1))
    one, other = reconstruct(loaded, values, 3), reconstruct(whole, made, 3)
    torch.testing.assert_close(one.completed, other.completed)
    # Everything that the student does not see, though training decodes half of it.
    assert one.partition.targets.shape == (2, 48)
    assert (one.completed != one.clip).any(1).float().mean() > 0.7


@pytest.mark.parametrize(
    'cfg, shape', [(videomae(), (2, 3, 8, 64, 64)), (mae(), (2, 3, 64, 64))], ids=['video', 'image']
)
def test_masks_depend_on_the_seed_only(cfg: dict, shape: tuple) -> None:
    model = MODELS.build(cfg)
    values, state = torch.randn(shape), torch.get_rng_state()
    first = reconstruct(model, values, 1).partition.visible
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    torch.rand(3)
    assert torch.equal(reconstruct(model, values, 1).partition.visible, first)
    assert not torch.equal(reconstruct(model, values, 2).partition.visible, first)


@pytest.mark.parametrize('target, note', [('per_channel', BORROWED), ('pixels', '')])
def test_the_note(target: str, note: str) -> None:
    head = dict(type='amd_mm.PixelReconstructionHead', target=target)
    assert borrowed_note(MODELS.build(videomae(head=head))) == note


def test_the_middle_of_an_image(tmp_path: Path) -> None:
    values = np.zeros((40, 80, 3), np.uint8)
    values[:, 20:60] = (255, 0, 0)  # blue in OpenCV's order
    path = str(tmp_path / 'wide.png')
    cv2.imwrite(path, values)
    square = read_clips(MODELS.build(image_backbone()), [path])
    assert square.shape == (1, 3, 64, 64)
    assert (square[0, 2, :, 2:-2] == 255).all() and square[0, :2].max() < 5
    still = read_clips(MODELS.build(backbone()), [path])
    assert still.shape == (1, 3, 8, 64, 64)
    assert torch.equal(still[:, :, 0], still[:, :, 7])
    assert torch.equal(still[:, :, 0], square)
