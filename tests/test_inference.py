"""Features and predictions by ``amd_mm.load``: inputs, layers, windows along a video."""

import csv
import json
import tracemalloc

import amd_mm
import numpy as np
import pytest
import torch
from amd_mm.datasets import open_video
from amd_mm.datasets.inference import ClipSampling, WindowSampling, read_sample, stride_of
from amd_mm.datasets.transforms import PerSecond
from amd_mm.errors import ConfigError, VideoError
from amd_mm.runs import use_clips
from mmengine.config import Config
from mmengine.dataset import Compose

from tests.conftest import write_video
from tests.test_deployment import tiny_models
from tests.test_evaluation import models

THREE_CROPS = dict(type='mmaction.ThreeCrop', crop_size=64)


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """A training folder of a recogniser that tests two clips of three crops, stride 2."""
    folder = tmp_path_factory.mktemp('run')
    meta = dict(dataset_meta=dict(classes=[f'doing {number}' for number in range(models.CLASSES)]))
    models.save(models.fine_tuned(), folder / 'epoch_1.pth', meta=meta)
    pipeline = ClipSampling(8, 2, 2, 64).pipeline()
    pipeline[4] = THREE_CROPS
    cfg = dict(model=models.recognizer_cfg(), test_dataloader=dict(dataset=dict(pipeline=pipeline)))
    Config(cfg).dump(folder / 'config.py')
    (folder / 'last_checkpoint').write_text('epoch_1.pth')
    return folder


@pytest.fixture(scope='module')
def model(run):
    return amd_mm.load(run, 'cpu')


@pytest.fixture(scope='module')
def video(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp('video') / 'v.mp4', frames=50, size=(96, 64))


@pytest.fixture(scope='module')
def frames(video):
    with open_video(video) as reader:
        return np.stack(reader.read(range(len(reader))))


def test_one_or_many(model, video, frames):
    features, rows = model.features(video), model.predict(video, 2)
    assert features.shape == (6, 64) and len(rows) == 2 and rows[0][0].startswith('doing')
    for many in ([video, frames], np.stack([frames, frames])):
        assert model.predict(many, 2) == [rows, rows]
    lazy = model.features(iter([video, 'gone.mp4']))
    assert torch.equal(next(lazy), features)
    with pytest.raises(ValueError, match=r'no video or image gone.mp4'):
        next(lazy)


def test_layers_and_tokens(model, video):
    tokens = model.features(video, tokens=True, layers=[2, 1])
    assert tokens.shape == (6, 2, 4, 4, 4, 64)
    torch.testing.assert_close(model.features(video, layers=[2, 1]), tokens.mean((2, 3, 4)))
    # the norm of this model comes after the mean over the last block's tokens
    norm = model.encoder.backbone.fc_norm
    torch.testing.assert_close(norm(tokens[:, 0].mean((1, 2, 3))), model.features(video))
    assert not torch.allclose(tokens[:, 0], tokens[:, 1])
    with pytest.raises(ConfigError, match='from 1 to 2, got .*3'):
        model.features(video, layers=[3])


def test_half_precision(run, model, video):
    half = amd_mm.load(run, 'cpu', 'bfloat16')
    exact = model.features(video)
    found = half.features(video)
    assert not torch.equal(found, exact)
    torch.testing.assert_close(found, exact, rtol=0.05, atol=0.05)
    ours, theirs = dict(model.predict(video, 7)), dict(half.predict(video, 7))
    assert ours != theirs
    np.testing.assert_allclose([theirs[one] for one in ours], list(ours.values()), atol=0.05)
    with pytest.raises(ConfigError, match="dtype='half': use one of float32"):
        amd_mm.load(run, 'cpu', 'half')


# -- windows -----------------------------------------------------------------------------------


@pytest.mark.parametrize('sparse', [False, True])
def test_windows_are_the_cut_pieces(run, video, frames, sparse):
    """Testing a cut piece with one clip of three crops gives the same."""
    cfg = Config.fromfile(run / 'config.py')
    steps = cfg.test_dataloader.dataset.pipeline
    steps[1] = ClipSampling(8, None if sparse else 2).pipeline()[1]
    model = amd_mm.load((cfg, run / 'epoch_1.pth'), 'cpu')
    starts = [0, 12, 24, 34]  # the last window ends with the video
    pieces = [frames[start : start + 16] for start in starts]
    for window, step in ((16, 12), ('0.64s', '0.48s')):
        timeline = model.timeline(video, window, step)
        np.testing.assert_allclose(timeline.times, [(s / 25, (s + 16) / 25) for s in starts])
        for number, piece in enumerate(pieces):
            found = model.predict(piece, 7)
            assert [one for one, _ in timeline.top(number, 7)] == [one for one, _ in found]
            values = [value for _, value in timeline.top(number, 7)]
            np.testing.assert_allclose(values, [value for _, value in found], rtol=1e-4)
        features = model.features(video, window=window, step=step)
        expected = torch.stack([model.features(piece).mean(0) for piece in pieces])
        torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-5)
    of_array = model.timeline(frames, 16, 12)
    np.testing.assert_allclose(of_array.scores, timeline.scores, rtol=1e-4)
    assert of_array.times[1].tolist() == [12, 28]  # frames


def test_a_video_shorter_than_a_window(model, video, frames):
    timeline = model.timeline(video, 100)
    assert timeline.times.tolist() == [[0, 2]]
    assert model.timeline(frames[:3]).scores.shape == (1, 7)


@pytest.mark.parametrize(
    'window, step, message',
    [
        (0, None, "window=0: give a number of frames such as 64, or seconds such as '2.5s'"),
        ('2x', None, "window='2x'"),
        (2.5, None, 'window=2.5'),
        (16, '-1s', "step='-1s'"),
        ('2s', 8, 'both in frames or both in seconds'),
    ],
)
def test_wrong_windows(model, video, window, step, message):
    with pytest.raises(ConfigError, match=message):
        model.timeline(video, window, step)


def test_memory_does_not_grow_with_the_video(tmp_path):
    video = write_video(tmp_path / 'long.mp4', frames=120, size=(320, 240))
    tracemalloc.start()
    parts = list(WindowSampling(8, window=16, step=8, size=64).read(video, batch_size=2))
    kept = sum(part.pixels.nbytes for part in parts)
    assert len(parts) == 7 and tracemalloc.get_traced_memory()[1] - kept < 20 * 320 * 240 * 3
    tracemalloc.stop()


def test_images_have_no_windows(tmp_path, video):
    cfg = tiny_models.read_config(tiny_models.IMAGES)
    path = tiny_models.save(tiny_models.build(cfg.model), tmp_path / 'x.pth')
    model = amd_mm.load((cfg, path), 'cpu')
    assert model.features([video, video])[1].shape == (1, model.encoder.backbone.embed_dims)
    with pytest.raises(ConfigError, match='the model is for images'):
        model.features(video, window=8)


def test_files_of_a_timeline(model, video, tmp_path):
    timeline = model.timeline(video, 16, 12)
    for name in ('t.csv', 't.json', 't.png', 't.mp4'):
        timeline.write(tmp_path / 'new' / name, video, top_k=2)
    with open(tmp_path / 'new/t.csv') as file:
        rows = list(csv.DictReader(file))
    best, value = timeline.top(3)[0]
    assert len(rows) == 8 and rows[6]['label'] == best and rows[6]['rank'] == '1'
    assert float(rows[6]['probability']) == pytest.approx(value, abs=1e-6)
    windows = json.loads((tmp_path / 'new/t.json').read_text())['windows']
    assert windows[3]['start'] == 1.36 and windows[3]['classes'][best] == pytest.approx(value)
    lines = timeline.draw(3).axes[0].get_lines()
    assert lines[0].get_label() == timeline.labels[timeline.scores.max(0).argmax()]
    with open_video(str(tmp_path / 'new/t.mp4')) as made:
        assert len(made) == 50
    with pytest.raises(ConfigError, match='has to end in one of .csv'):
        timeline.write(tmp_path / 't.txt', video)


# -- frames by time ----------------------------------------------------------------------------


@pytest.fixture(scope='module')
def timed(run):
    """The config of the same model, which was trained and is tested by time: 8 frames a second."""
    cfg = Config.fromfile(run / 'config.py')
    cfg.test_dataloader.dataset.pipeline[1] = dict(
        type='amd_mm.SampleFramesAtRate', fps=8, clip_len=8, num_clips=2, test_mode=True
    )
    return cfg


def test_a_model_by_time_reads_as_its_test_pipeline(run, timed, video, frames, tmp_path):
    model = amd_mm.load((timed, run / 'epoch_1.pth'), 'cpu')
    views = Compose(timed.test_dataloader.dataset.pipeline)(dict(filename=video, label=0))
    expected = model.encoder(views['inputs'])
    torch.testing.assert_close(model.features(video), expected)

    slim = Config(dict(test_pipeline=timed.test_dataloader.dataset.pipeline))
    assert stride_of(timed) == stride_of(slim) == PerSecond(8) and str(PerSecond(8)) == '8 a second'
    middle = ClipSampling(8, stride_of(timed), size=64)
    (positions,), _ = middle.positions(open_video(video))
    assert (positions[0], positions[-1]) == (14, 35)  # 7 / 8 s of 25 frames a second
    amd_mm.embed([video], model, tmp_path / 'out')
    (row,) = np.load(next((tmp_path / 'out').rglob('*.npy')))
    picked = torch.from_numpy(frames[positions])
    resized = next(middle.read(video)).pixels
    assert resized.shape[2] == len(picked)
    np.testing.assert_allclose(row, model.encoder(resized)[0], rtol=1e-4, atol=1e-5)
    packed = read_sample(middle.pipeline(), video)['inputs']
    assert torch.equal(packed, resized)
    assert model.timeline(video).times[0].tolist() == [0, 1]  # a window is a clip: one second


def test_a_model_by_time_refuses_an_array(run, timed, frames):
    """Its frames have no times: any choice could be wrong."""
    model = amd_mm.load((timed, run / 'epoch_1.pth'), 'cpu')
    with pytest.raises(VideoError, match='8 frames a second, and the array has no times'):
        model.predict(frames)
    with pytest.raises(VideoError, match='8 frames a second, and the array has no times'):
        model.features(frames, sampling=ClipSampling(8, PerSecond(8), size=64))
    assert model.predict(frames[:1], 1)  # a picture


def test_training_goes_on_by_time(timed):
    """A model that starts from this one gets its rate unless another is given."""
    for fps, rate in ((None, 8), (5, 5)):
        cfg = Config(dict(model=dict(backbone=dict(img_size=64, num_frames=8))))
        sampler = dict(type='mmaction.SampleFrames', clip_len=16, frame_interval=4)
        cfg.train_dataloader = dict(dataset=dict(pipeline=[sampler]))
        assert f'{rate} a second' in use_clips(cfg, stride_of(timed), fps)
        assert cfg.train_dataloader.dataset.pipeline == [
            dict(type='amd_mm.SampleFramesAtRate', fps=rate, clip_len=8)
        ]
