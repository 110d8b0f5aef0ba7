"""8 frames of 32 x 64 pixels: pre-training, fine-tuning, test, export, features and pictures."""

import pytest
import torch
from amd_mm.apis import encoder_of, find_source, load_encoder, load_model
from amd_mm.datasets.inference import read_clips
from amd_mm.deployment import portable_classifier
from amd_mm.inference import Model
from amd_mm.visualization.features import attention_distances
from amd_mm.visualization.reconstruction import reconstruct
from mmengine.config import Config

from tests.test_reliability.mistakes import make_project
from tests.test_tools.tool_scripts import run_tool

SIZE = (32, 64)  # height, width


def narrow(project, name):
    """A config of the project for frames that are wider than high; its path."""
    cfg = Config.fromfile(project / f'{name}.py')
    teacher = cfg.model.get('teacher')
    for backbone in (cfg.model.backbone, *([teacher.backbone] if teacher else [])):
        backbone.img_size = SIZE
    for key in ('train_dataloader', 'test_dataloader'):
        if cfg.get(key):
            pipeline = cfg[key].dataset.pipeline
            for step in (*pipeline, *pipeline[-1].get('transforms', [])):
                if 'scale' in step:
                    step.scale = SIZE[::-1]
    cfg.dump(project / f'{name}_narrow.py')
    return project / f'{name}_narrow.py'


@pytest.fixture(scope='module')
def runs(tmp_path_factory, make_video):
    """The folders of a pre-training and of a fine-tuning that starts from it."""
    folder = make_project(tmp_path_factory.mktemp('narrow'), make_video)
    config = narrow(folder, 'pretrain')
    done = run_tool('train', config, '--work-dir', folder / 'pretrained')
    assert done.returncode == 0, done.stderr
    config = narrow(folder, 'recognise')
    start = f'model.backbone.pretrained={folder}/pretrained/epoch_1.pth'
    done = run_tool('train', config, '--work-dir', folder / 'tuned', '--cfg-options', start)
    assert done.returncode == 0, done.stderr
    return folder


def test_fine_tuning_starts_from_all_of_the_encoder(runs):
    first, second = (
        torch.load(runs / name / 'epoch_1.pth', weights_only=False)['state_dict']
        for name in ('pretrained', 'tuned')
    )
    assert torch.equal(first['backbone.pos_embed'], second['backbone.pos_embed'])
    assert second['backbone.pos_embed'].shape[1] == 4 * 2 * 4


def test_test_and_export(runs, tmp_path):
    done = run_tool(
        *('test', runs / 'recognise_narrow.py', runs / 'tuned/epoch_1.pth'),
        *('--work-dir', tmp_path, '--dump', tmp_path / 'p.pkl'),
    )
    assert done.returncode == 0 and 'acc/top1' in done.stdout + done.stderr
    exported = portable_classifier(*find_source(runs / 'tuned'))
    assert exported.size == (3, 8, *SIZE) and exported.num_outputs() == 4


def test_features_and_predictions(runs, tmp_path):
    video = str(runs / 'videos/0.mp4')
    for folder in ('pretrained', 'tuned'):
        encoder = load_encoder(runs / folder)
        assert encoder.size == SIZE
        tokens = Model(encoder).features(video, tokens=True)
        assert tokens.shape[1:] == (4, 2, 4, 48)
    assert len(Model(load_model(runs / 'tuned')).predict(video)) == 4
    done = run_tool(
        *('extract_features', runs / 'pretrained', video, '--out', tmp_path / 'features'),
        *('--stride', 1, '--workers', 0, '--tokens'),
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_clips_for_pictures(runs):
    model = load_model(runs / 'pretrained')
    clips = read_clips(model.backbone, [str(runs / 'videos/0.mp4')], stride=1)
    assert clips.shape == (1, 3, 8, *SIZE)
    result = reconstruct(model, encoder_of(model).normalise(clips))
    assert result.completed.shape[-2:] == SIZE
    distances = attention_distances(model.backbone, encoder_of(model).normalise(clips))
    assert distances.space.shape == (4, 3)
