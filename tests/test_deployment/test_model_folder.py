"""Model folders: read by this package, transformers and timm, with the same numbers."""

import os
import subprocess
import sys
from importlib.util import find_spec

import amd_mm
import numpy as np
import pytest
import torch
from amd_mm.datasets import open_video
from amd_mm.datasets.inference import ClipSampling
from amd_mm.errors import ConfigError
from mmengine.config import Config
from safetensors.torch import load_file, save_file

from ..test_evaluation import models
from . import tiny_models

# In a process of its own: MMPretrain does not import beside every release of transformers.
TRANSFORMERS = """
import sys
import amd_mm, numpy, torch
import transformers

folder = sys.argv[1]
kind = transformers.AutoConfig.from_pretrained(folder).architectures[0]
model, report = getattr(transformers, kind).from_pretrained(folder, output_loading_info=True)
assert not report['missing_keys'] and not report['unexpected_keys'], report
frames = numpy.load(f'{folder}/frames.npy')
processor = transformers.VideoMAEImageProcessor.from_pretrained(folder)
pixels = processor(list(frames), return_tensors='pt')['pixel_values']
with torch.no_grad():
    output = model.eval()(pixels)
found = output.logits.softmax(-1) if 'Classification' in kind else output.last_hidden_state.mean(1)
numpy.save(f'{folder}/found.npy', found)
"""
CLASSES = [f'doing {number}' for number in range(models.CLASSES)]


def run_transformers(folder):
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONWARNINGS': 'ignore'}
    call = [sys.executable, '-c', TRANSFORMERS, str(folder)]
    done = subprocess.run(call, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return torch.from_numpy(np.load(folder / 'found.npy'))


def frames_of(make_video, path):
    """Frames of the size of the model: resizing differs between programs."""
    with open_video(make_video(path, frames=8, size=(64, 64))) as reader:
        return np.stack(reader.read(range(8)))


@pytest.mark.parametrize('make', [models.pretrained, models.fine_tuned])
def test_a_video_model(make, tmp_path, make_video):
    path = tmp_path / 'model.pth'
    models.save(make(), path, meta=dict(dataset_meta=dict(classes=CLASSES)))
    cfg = Config(
        dict(
            model=models.recognizer_cfg()
            if make is models.fine_tuned
            else models.tiny.videomae(backbone=models.tiny.backbone(**models.WIDTH)),
            test_pipeline=ClipSampling(8, 1, 1, 64).pipeline(),
            train_cfg=dict(max_epochs=3),
            train_dataloader=dict(dataset=dict(ann_file='/home/me/lists/train.txt')),
        )
    )
    model = amd_mm.load((cfg, path), 'cpu')
    frames = frames_of(make_video, tmp_path / 'v.mp4')
    folder = tmp_path / 'folder'
    assert model.save(folder, 'cc-by-nc-4.0', {'Commit': 'abc'}) == 'transformers'
    ours = amd_mm.load(folder, 'cpu')
    features = model.features(frames)
    torch.testing.assert_close(ours.features(frames), features)
    if make is models.fine_tuned:
        assert ours.predict(frames) == model.predict(frames) and ours.classes == CLASSES
    card = (folder / 'README.md').read_text()
    for row in ('license: cc-by-nc-4.0', '| Epochs | 3 |', '| Commit | abc |', 'train.txt'):
        assert row in card
    assert '/home/me' not in card + (folder / 'config.py').read_text()
    with pytest.raises(ConfigError, match='is not empty'):
        model.save(folder)

    # what transformers itself would leave: no config of ours, and the other spelling of biases
    (folder / 'config.py').unlink()
    state = load_file(folder / 'model.safetensors')
    key = 'videomae.encoder.layer.0.attention.attention.'
    spelled = {
        name.replace('q_bias', 'query.bias').replace('v_bias', 'value.bias'): value
        for name, value in state.items()
    }
    assert f'{key}query.bias' in spelled
    spelled[f'{key}key.bias'] = torch.randn(64)  # which changes no softmax
    save_file(spelled, folder / 'model.safetensors')
    theirs = amd_mm.load(folder, 'cpu')
    sampling = ClipSampling(8, 1, 1, 64)
    torch.testing.assert_close(theirs.features(frames, sampling=sampling), features)
    assert theirs.classes == (CLASSES if make is models.fine_tuned else None)
    save_file(state, folder / 'model.safetensors')

    if find_spec('transformers') is None:
        pytest.skip('transformers is not installed')
    np.save(folder / 'frames.npy', frames)
    found = run_transformers(folder)
    if make is models.fine_tuned:
        scores = dict(model.predict(frames, models.CLASSES))
        features = torch.tensor([[scores[name] for name in CLASSES]])
    torch.testing.assert_close(found, features, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('name', [tiny_models.IMAGES, tiny_models.IMAGE_PRETRAINING])
def test_an_image_model(name, tmp_path):
    config, checkpoint, _ = tiny_models.write(tmp_path, name)
    model = amd_mm.load((config, checkpoint), 'cpu')
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    assert model.save(tmp_path / 'folder') == 'timm'
    ours = amd_mm.load(tmp_path / 'folder', 'cpu')
    torch.testing.assert_close(ours.features(pixels), model.features(pixels))
    if find_spec('timm') is None:
        pytest.skip('timm is not installed')
    import timm

    theirs = timm.create_model(f'local-dir:{tmp_path}/folder', pretrained=True).eval()
    mean, std = (torch.tensor(theirs.pretrained_cfg[one]) for one in ('mean', 'std'))
    values = ((torch.from_numpy(pixels) / 255 - mean) / std).permute(2, 0, 1)[None]
    with torch.no_grad():
        found = theirs(values)
    if name == tiny_models.IMAGES:
        scores = dict(model.predict(pixels, found.shape[1]))
        expected = torch.tensor([[scores[f'class {at}'] for at in range(found.shape[1])]])
        torch.testing.assert_close(found.softmax(-1), expected, rtol=1e-3, atol=1e-4)
    else:
        torch.testing.assert_close(found, model.features(pixels), rtol=1e-3, atol=1e-4)


def test_a_model_that_others_do_not_know(tmp_path, make_video):
    """A learned position table."""
    cfg = models.recognizer_cfg()
    cfg['backbone']['use_learnable_pos_emb'] = True
    config = Config(dict(model=cfg, test_pipeline=ClipSampling(8, 1, 1, 64).pipeline()))
    model = amd_mm.load((config, None), 'cpu')
    assert model.save(tmp_path / 'folder') == 'amd_mm'
    frames = frames_of(make_video, tmp_path / 'v.mp4')
    assert amd_mm.load(tmp_path / 'folder', 'cpu').predict(frames) == model.predict(frames)
