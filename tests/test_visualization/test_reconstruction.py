"""Reconstructions of any checkpoint with a decoder, as pictures and videos."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from amd_mm.apis import encoder_of, load_model
from amd_mm.checkpoints import from_amd_mm
from amd_mm.datasets import open_video
from amd_mm.models.algorithms import Reconstruction
from amd_mm.models.mask_generators import AsymmetricTubeMaskGenerator
from amd_mm.registry import MODELS
from amd_mm.visualization.inputs import read_inputs
from amd_mm.visualization.reconstruction import (
    BORROWED,
    borrowed_note,
    draw_reconstruction,
    reconstruct,
    show_tokens,
    views_of,
)
from PIL import Image

from ..tiny import amd, backbone, videomae
from ..tiny_image import dmae, image_amd, image_backbone, mae
from ..tiny_tinymim import tinymim
from .checkpoints import work_folder
from .visualize_tools import run_tool

PATCH = (2, 8, 8)


def reconstruction(teacher_ratio: float = 0.5, frames: int = 8) -> Reconstruction:
    generator = AsymmetricTubeMaskGenerator(0.75, teacher_ratio, seed=0)
    clip = torch.rand(2, 3, frames, 32, 32)
    return Reconstruction(clip, clip * 0.5, generator(2, (frames // 2, 4, 4)))


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


@pytest.mark.parametrize('end', ['.png', '.gif', '.mp4'])
def test_pictures_with_names_and_note(tmp_path: Path, end: str) -> None:
    path = tmp_path / 'new' / f'picture{end}'
    result = reconstruction(frames=4)
    draw_reconstruction(result, PATCH, path, ['first', 'an $1$'], BORROWED, max_frames=2)
    if end == '.png':
        assert cv2.imread(str(path)).min() == 0
    elif end == '.gif':
        with Image.open(path) as moving:
            assert moving.n_frames == 4
    else:
        with open_video(str(path)) as video:
            frames = np.stack(video.read(range(4)))
        assert frames.std(0).max() > 10  # it moves


def tool(*arguments: object) -> int:
    few = ('--device', 'cpu', '--frames', 2)  # drawing takes the time
    return run_tool('reconstruction', *few, *arguments)


@pytest.fixture(scope='module')
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('images') / 'image.png'
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (70, 90, 3)))
    return path


@pytest.mark.parametrize('name', ['videomae', 'amd'])
def test_videos(
    name: str, tmp_path: Path, tiny_videos: list, image: Path, capsys: pytest.CaptureFixture
) -> None:
    checkpoint = work_folder(tmp_path / 'run', videomae() if name == 'videomae' else amd())
    out = tmp_path / 'new' / 'a.png'
    assert tool(checkpoint, tiny_videos[0], image, '--out', out) == 0
    said = capsys.readouterr().out
    teacher = 32 if name == 'amd' else 16
    assert f'2 inputs of 64 tokens; the student sees 16, the teacher {teacher}' in said
    assert BORROWED in said
    strip = cv2.imread(str(out))
    assert strip.shape[1] > 400 and strip.min() == 0


@pytest.mark.parametrize('name', ['mae', 'dmae', 'amd'])
def test_images(
    name: str, tmp_path: Path, tiny_videos: list, image: Path, capsys: pytest.CaptureFixture
) -> None:
    cfg = dict(mae=mae, dmae=dmae, amd=image_amd)[name]()
    cfg['head'] = dict(type='amd_mm.PixelReconstructionHead', target='pixels')
    checkpoint = work_folder(tmp_path / 'run', cfg)
    out = tmp_path / 'a.png'
    assert tool(checkpoint, image, tiny_videos[0], '--out', out) == 0
    assert BORROWED not in capsys.readouterr().out
    assert cv2.imread(str(out)).min() == 0
    assert tool(checkpoint, image, '--out', tmp_path / 'a.gif') == 1
    assert 'images do not move' in capsys.readouterr().err


@pytest.mark.parametrize('fmt', ['videomae', 'huggingface', 'mae'])
def test_public_checkpoints(fmt: str, tmp_path: Path, tiny_videos: list, image: Path) -> None:
    own = work_folder(tmp_path / 'own', mae() if fmt == 'mae' else videomae())
    state = torch.load(own, weights_only=True)['state_dict']
    public = tmp_path / 'public.pth'
    torch.save(dict(model=from_amd_mm(state, fmt).state), public)
    source = image if fmt == 'mae' else tiny_videos[0]
    pictures = []
    for call in ((own,), (own.parent / 'config.py', public)):
        out = tmp_path / f'{len(call)}.png'
        assert tool(*call, source, '--out', out) == 0
        pictures.append(cv2.imread(str(out)))
    assert np.array_equal(*pictures)


def test_equals_the_whole_model_with_its_preprocessor(tmp_path: Path, tiny_videos: list) -> None:
    """Without the teacher, and with the inputs as the tool reads them."""
    cfg = amd()
    cfg['mask_generator']['decoder_ratio'] = 0.5
    checkpoint = work_folder(tmp_path / 'run', cfg)
    loaded = load_model(checkpoint)
    whole = MODELS.build(cfg)
    whole.load_state_dict(torch.load(checkpoint, weights_only=True)['state_dict'])
    clips = read_inputs(loaded.backbone, tiny_videos[:2])
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


@pytest.mark.parametrize(
    'target, note', [('per_channel', BORROWED), ('per_patch', BORROWED), ('pixels', '')]
)
def test_the_note(target: str, note: str) -> None:
    head = dict(type='amd_mm.PixelReconstructionHead', target=target)
    assert borrowed_note(MODELS.build(videomae(head=head))) == note


def test_the_middle_of_an_image(tmp_path: Path) -> None:
    values = np.zeros((40, 80, 3), np.uint8)
    values[:, 20:60] = (255, 0, 0)  # blue in OpenCV's order
    path = str(tmp_path / 'wide.png')
    cv2.imwrite(path, values)
    square = read_inputs(MODELS.build(image_backbone()), [path])
    assert square.shape == (1, 3, 64, 64)
    assert (square[0, 2, :, 2:-2] == 255).all() and square[0, :2].max() < 5
    still = read_inputs(MODELS.build(backbone()), [path])
    assert still.shape == (1, 3, 8, 64, 64)
    assert torch.equal(still[:, :, 0], still[:, :, 7])
    assert torch.equal(still[:, :, 0], square)


def test_other_ratios(tmp_path: Path, tiny_videos: list, capsys: pytest.CaptureFixture) -> None:
    checkpoint = work_folder(tmp_path / 'run', amd())
    call = (checkpoint, tiny_videos[0], '--out', tmp_path / 'a.png')
    assert tool(*call, '--student-ratio', '0.9', '--teacher-ratio', '0.25') == 0
    assert 'the student sees 8, the teacher 48' in capsys.readouterr().out
    assert tool(*call, '--teacher-ratio', '0.9') == 1
    assert 'teacher_ratio=0.9' in capsys.readouterr().err


def test_errors(tmp_path: Path, tiny_videos: list, capsys: pytest.CaptureFixture) -> None:
    good = work_folder(tmp_path / 'good', videomae())
    relations = work_folder(tmp_path / 'tinymim', tinymim())
    bare = work_folder(tmp_path / 'bare', amd(rec_weight=0))
    alone = work_folder(tmp_path / 'alone', videomae())
    (alone.parent / 'last_checkpoint').unlink()
    state = torch.load(good, weights_only=True)['state_dict']
    encoder = tmp_path / 'encoder.pth'
    torch.save({k: v for k, v in state.items() if k.startswith('backbone.')}, encoder)
    config = good.parent / 'config.py'
    text = tmp_path / 'bad.png'
    text.write_text('no image')
    video, out = tiny_videos[0], ('--out', tmp_path / 'x.png')
    for call, said in (
        ((good, video, '--out', 'x.avi'), 'has to end in one of'),
        ((good, *out), 'at least one input'),
        ((good, text, *out), f'cannot read {text}'),
        ((alone, video, *out), 'there is no config beside'),
        ((config, encoder, video, *out), 'decoder'),
        ((relations, video, *out), 'cannot reconstruct'),
        ((bare, video, *out), 'cannot reconstruct'),
    ):
        assert tool(*call) == 1
        assert said in capsys.readouterr().err
    assert not (tmp_path / 'x.png').exists()
