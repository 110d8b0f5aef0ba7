"""Reconstructions of any checkpoint with a decoder, as pictures and videos."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from amd_mm.checkpoints import from_amd_mm
from amd_mm.datasets import open_video
from amd_mm.evaluation.clip_encoder import ClipSampling
from amd_mm.registry import MODELS
from amd_mm.visualization.inputs import middle_frames, read_inputs
from amd_mm.visualization.model_files import load_autoencoder, normalise
from amd_mm.visualization.reconstructions import BORROWED, borrows_statistics, reconstruct
from mmengine.config import Config
from mmengine.dataset import Compose
from PIL import Image

from ..tiny import amd, videomae
from ..tiny_image import dmae, image_amd, mae
from ..tiny_tinymim import tinymim
from .checkpoints import work_folder
from .visualize_tools import run_tool


def tool(*arguments: object) -> int:
    few = ('--device', 'cpu', '--frames', 2)  # drawing takes the time
    return run_tool('reconstruction', *few, *arguments)


@pytest.fixture(scope='module')
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('images') / 'an image $1$.png'
    values = np.random.default_rng(0).integers(0, 256, (70, 90, 3))
    cv2.imwrite(str(path), values)
    return path


@pytest.mark.parametrize('name', ['videomae', 'amd'])
def test_of_videos(
    name: str, tmp_path: Path, tiny_videos: list, image: Path, capsys: pytest.CaptureFixture
) -> None:
    cfg = videomae() if name == 'videomae' else amd()
    checkpoint = work_folder(tmp_path / 'run', cfg)
    out = [tmp_path / 'new' / f'a{end}' for end in ('.png', '.gif', '.mp4')]
    assert tool(checkpoint, tiny_videos[0], image, '--out', *out) == 0
    said = capsys.readouterr().out
    assert '2 inputs of 64 tokens: the student sees 16' in said
    assert ('the teacher 32' in said) == (name == 'amd')
    assert BORROWED in said
    strip = cv2.imread(str(out[0]))
    assert strip.shape[1] > 400 and strip.min() == 0
    with Image.open(out[1]) as moving:
        assert moving.n_frames == 8
        wide = moving.size[0]
    with open_video(str(out[2])) as video:
        assert len(video) == 8
        assert video.read([0])[0].shape[1] == wide
    columns = 4 if name == 'amd' else 3
    assert wide == pytest.approx(columns * 182, abs=8)


@pytest.mark.parametrize('name', ['mae', 'dmae', 'amd'])
def test_of_images(
    name: str, tmp_path: Path, tiny_videos: list, image: Path, capsys: pytest.CaptureFixture
) -> None:
    cfg = dict(mae=mae, dmae=dmae, amd=image_amd)[name]()
    cfg['head'] = dict(type='amd_mm.PixelReconstructionHead', target='pixels')
    checkpoint = work_folder(tmp_path / 'run', cfg)
    out = tmp_path / 'a.png'
    assert tool(checkpoint, image, tiny_videos[0], '--out', out) == 0
    assert BORROWED not in capsys.readouterr().out
    assert cv2.imread(str(out)).min() == 0
    assert tool(checkpoint, image, '--out', tmp_path / 'a.gif') == 2
    assert 'images do not move' in capsys.readouterr().err


@pytest.mark.parametrize('fmt', ['videomae', 'huggingface', 'mae'])
def test_of_a_public_file(fmt: str, tmp_path: Path, tiny_videos: list, image: Path) -> None:
    cfg = mae() if fmt == 'mae' else videomae()
    own = work_folder(tmp_path / 'own', cfg)
    state = torch.load(own, weights_only=True)['state_dict']
    public = tmp_path / 'public.pth'
    torch.save(dict(model=from_amd_mm(state, fmt).state), public)
    source = image if fmt == 'mae' else tiny_videos[0]
    config = own.parent / 'config.py'
    for call in ((own,), (config, public)):
        out = tmp_path / f'{len(call)}.png'
        assert tool(*call, source, '--out', out) == 0
    one, other = (cv2.imread(str(tmp_path / f'{n}.png')) for n in (1, 2))
    assert np.array_equal(one, other)


def test_is_what_the_model_makes_of_its_preprocessor(tmp_path: Path, tiny_videos: list) -> None:
    """Without teacher and through the tool's own reading, the same result."""
    cfg = amd()
    cfg['mask_generator']['decoder_ratio'] = 0.5
    checkpoint = work_folder(tmp_path / 'run', cfg)
    loaded = load_autoencoder(str(checkpoint), Config.fromfile(tmp_path / 'run' / 'config.py'))
    whole = MODELS.build(cfg)
    state = torch.load(checkpoint, weights_only=True)['state_dict']
    whole.load_state_dict(state)
    clips = read_inputs(tiny_videos[:2], 8, (64, 64))
    batch = dict(inputs=list(clips.unsqueeze(1)), data_samples=None)
    made = whole.data_preprocessor(batch, False)['inputs']
    values = normalise(clips, *loaded.pixel_stats())
    torch.testing.assert_close(values, made.flatten(0, 1))
    one, other = reconstruct(loaded, values, 3), reconstruct(whole, made, 3)
    torch.testing.assert_close(one.completed, other.completed)
    # All that the student does not see, though training decodes half of it.
    assert one.partition.targets.shape == (2, 48)
    changed = (one.completed != one.clip).any(1).float().mean()
    assert changed > 0.7


@pytest.mark.parametrize('cfg', [videomae(), mae()], ids=['video', 'image'])
def test_masks_depend_on_the_seed_alone(cfg: dict) -> None:
    model = MODELS.build(cfg)
    shape = (
        (2, 3, 64, 64) if cfg['backbone']['type'].startswith('amd_mm.Image') else (2, 3, 8, 64, 64)
    )
    values, state = torch.randn(shape), torch.get_rng_state()
    first = reconstruct(model, values, 1).partition.visible
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    torch.rand(3)
    assert torch.equal(reconstruct(model, values, 1).partition.visible, first)
    other = reconstruct(model, values, 2).partition.visible
    assert not torch.equal(other, first)


def test_whose_patches_are_borrowed() -> None:
    for target, borrows in (('per_channel', True), ('per_patch', True), ('pixels', False)):
        head = dict(type='amd_mm.PixelReconstructionHead', target=target)
        assert borrows_statistics(MODELS.build(videomae(head=head))) == borrows


@pytest.mark.parametrize('stride', [1, 4, None])
@pytest.mark.parametrize('total', [5, 24, 100])
def test_the_frames_are_those_of_testing(total: int, stride: int) -> None:
    sampling = ClipSampling(8, stride).pipeline()[1]
    video = dict(total_frames=total, start_index=0)
    expected = Compose([sampling])(video)['frame_inds'].tolist()
    assert middle_frames(total, 8, stride) == expected


def test_the_middle_of_an_image(tmp_path: Path) -> None:
    values = np.zeros((40, 80, 3), np.uint8)
    values[:, 20:60] = (255, 0, 0)  # blue in OpenCV's order
    path = str(tmp_path / 'wide.png')
    cv2.imwrite(path, values)
    square = read_inputs([path], None, (32, 32))
    assert square.shape == (1, 3, 32, 32)
    assert (square[0, 2, :, 2:-2] == 255).all() and square[0, :2].max() < 5
    still = read_inputs([path], 4, (16, 32))
    assert still.shape == (1, 3, 4, 16, 32)
    assert torch.equal(still[:, :, 0], still[:, :, 3])


def test_ratios_are_those_asked_for(
    tmp_path: Path, tiny_videos: list, capsys: pytest.CaptureFixture
) -> None:
    checkpoint = work_folder(tmp_path / 'run', amd())
    call = (checkpoint, tiny_videos[0], '--out', tmp_path / 'a.png')
    ratios = ('--student-ratio', '0.9', '--teacher-ratio', '0.25')
    assert tool(*call, *ratios) == 0
    said = capsys.readouterr().out
    assert 'the student sees 8, the teacher 48' in said
    assert tool(*call, '--teacher-ratio', '0.9') == 2
    assert 'teacher_ratio=0.9' in capsys.readouterr().err


def test_what_is_wrong_is_said(
    tmp_path: Path, tiny_videos: list, make_video: Callable, capsys: pytest.CaptureFixture
) -> None:
    good = work_folder(tmp_path / 'good', videomae())
    relations = work_folder(tmp_path / 'tinymim', tinymim())
    bare = work_folder(tmp_path / 'bare', amd(rec_weight=0))
    alone = work_folder(tmp_path / 'alone', videomae())
    (alone.parent / 'last_checkpoint').unlink()
    state = torch.load(good, weights_only=True)['state_dict']
    encoder = tmp_path / 'encoder.pth'
    torch.save({k: v for k, v in state.items() if k.startswith('backbone.')}, encoder)
    config = good.parent / 'config.py'
    empty = tmp_path / 'empty'
    empty.mkdir()
    broken, unknown, maskless = (
        tmp_path / f'{name}.py' for name in ('broken', 'unknown', 'maskless')
    )
    broken.write_text('model = dict(')
    unknown.write_text("model = dict(type='amd_mm.Unknown')")
    maskless.write_text("model = dict(type='amd_mm.MaskedAutoencoder')")
    misspelt = tmp_path / 'misspelt.py'
    misspelt.write_text(config.read_text().replace('depth=', 'deep='))
    bad, text = tmp_path / 'bad.mp4', tmp_path / 'bad.png'
    bad.write_bytes(b'no video')
    text.write_text('no image')
    video, out = tiny_videos[0], ('--out', tmp_path / 'x.png')
    for call, said in (
        ((good, video, '--out', 'x.avi'), 'has to end in one of'),
        ((good, *out), 'an input at least'),
        ((good, empty, *out), str(empty)),
        ((good, bad, *out), f'cannot read {bad}'),
        ((good, text, *out), f'cannot read {text}'),
        ((good, tmp_path / 'no.mp4', *out), 'there is no video'),
        ((tmp_path / 'no.pth', video, *out), 'there is no config beside'),
        ((config, tmp_path / 'no.pth', video, *out), 'There is no file'),
        (('no.py', good, video, *out), 'there is no config file no.py'),
        ((broken, good, video, *out), f'{broken}, line 1: this config'),
        ((unknown, good, video, *out), 'there is no model amd_mm.Unknown'),
        ((maskless, good, video, *out), 'the model has no mask_generator'),
        ((misspelt, good, video, *out), "keyword argument 'deep'"),
        ((alone, video, *out), 'there is no config beside'),
        ((config, encoder, video, *out), 'noise would be drawn'),
        ((relations, video, *out), 'TinyMIM learns relations of tokens and'),
        ((bare, video, *out), 'with rec_weight=0'),
        ((good, video, *out, '--frames', '0'), 'must be at least 1'),
    ):
        assert tool(*call) == 2
        error = capsys.readouterr().err
        assert said in error and error.count('\n') == 1, error
    assert not (tmp_path / 'x.png').exists()
