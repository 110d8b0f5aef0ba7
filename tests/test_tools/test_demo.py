"""tools/demo.py: the right classes, in print and in the picture."""

import re
import shutil

import numpy as np
import pytest
import torch
from amd_mm.checkpoints import from_amd_mm
from amd_mm.datasets import open_video
from amd_mm.datasets.inference import ClipSampling
from amd_mm.datasets.transforms import PerSecond
from mmengine.config import Config
from mmengine.dataset import Compose

from tests.test_evaluation import models

from .tool_scripts import load_tool

DEMO = load_tool('demo')
SAMPLING = ClipSampling(frames=8, stride=4, clips=3, size=64)


@pytest.fixture(scope='module')
def video(tiny_video_folder):
    return str(tiny_video_folder / 'more/deep/d clip 1.mp4')


@pytest.fixture
def checkpoint(tmp_path):
    return models.save(models.fine_tuned(), tmp_path / 'model.pth')


def demo(*arguments):
    return DEMO.main([*map(str, arguments), '--device', 'cpu'])


def printed(out):
    rows = re.findall(r'^ +([\d.]+) %  (.+)$', out, re.MULTILINE)
    return [(name, float(value)) for value, name in rows]


def check(out, video, name='class {}', sampling=SAMPLING):
    """The five best by the model itself: the mean of the probabilities of three clips."""
    sample = Compose(sampling.pipeline())(dict(filename=video, label=-1, modality='RGB'))
    model = models.fine_tuned()
    with torch.no_grad():
        batch = dict(inputs=[sample['inputs']], data_samples=None)
        clips = model.data_preprocessor(batch)['inputs'][0]
        values, index = model.cls_head(model.backbone(clips)).softmax(-1).mean(0).topk(5)
    rows = printed(out)
    assert [row[0] for row in rows] == [name.format(i) for i in index.tolist()]
    np.testing.assert_allclose([row[1] for row in rows], 100 * values, atol=0.06)


def test_without_a_config(video, checkpoint, tmp_path, capsys):
    labels = tmp_path / 'labels.txt'
    labels.write_text('\n'.join(f'doing {i}' for i in range(models.CLASSES)))
    out = tmp_path / 'new/annotated.mp4'
    assert demo(video, checkpoint, '--frames', 8, '--labels', labels, '--out', out) == 0
    check(capsys.readouterr().out, video, 'doing {}')
    with open_video(str(out)) as made, open_video(video) as original:
        assert len(made) == len(original)
        assert made.avg_fps == pytest.approx(original.avg_fps)
        assert made.read([0])[0].shape == (240, 320, 3)


def test_frames_per_second(video, checkpoint, capsys):
    options = ('--frames', 8, '--clips', 2)
    assert demo(video, checkpoint, *options, '--fps', 12) == 0
    check(capsys.readouterr().out, video, sampling=ClipSampling(8, PerSecond(12), 2, 64))
    for wrong in (('--fps', 0), ('--fps', 12, '--stride', 2)):
        with pytest.raises(SystemExit):
            demo(video, checkpoint, *wrong)


def test_other_models(video, tmp_path, capsys):
    """A public format, without position table: 224 pixels. A linear probe."""
    path = tmp_path / 'model.pth'
    torch.save(from_amd_mm(models.fine_tuned().state_dict(), 'huggingface').state, path)
    assert demo(video, path, '--clips', 1) == 0
    out = capsys.readouterr().out
    assert 'read from the weights' in out and len(printed(out)) == 5
    cfg = models.recognizer_cfg()
    cfg['type'] = 'amd_mm.FrozenBackboneRecognizer'
    cfg['backbone'].update(use_mean_pooling=False, return_feat_map=True)
    cfg['cls_head'].update(type='amd_mm.LinearProbeHead')
    path = models.save(models.MODELS.build(cfg), tmp_path / 'probe.pth')
    assert demo(video, path, '--frames', 8) == 0
    assert len(printed(capsys.readouterr().out)) == 5


def test_the_config_beside_a_checkpoint(video, checkpoint, tmp_path, capsys):
    data = dict(dataset=dict(pipeline=SAMPLING.pipeline()))
    cfg = Config(dict(model=models.recognizer_cfg(), test_dataloader=data))
    cfg.dump(tmp_path / 'config.py')
    (tmp_path / 'last_checkpoint').write_text(checkpoint)
    for options in ((), ('--config', tmp_path / 'config.py')):
        assert demo(video, checkpoint, *options) == 0
        out = capsys.readouterr().out
        assert f'config: {tmp_path}/config.py' in out
        check(out, video)


def test_over_time(video, checkpoint, tmp_path, capsys):
    files = tmp_path / 'table.csv', tmp_path / 'times.png'
    call = (video, checkpoint, '--frames', 8, '--window', '0.5s', '--step', '0.25s', '--top-k', 2)
    assert demo(*call, '--out', *files) == 0
    lines = [one for one in capsys.readouterr().out.splitlines() if ' s ' in one]
    rows = files[0].read_text().splitlines()
    assert len(rows) == 1 + 2 * len(lines) and files[1].is_file()
    for line, row in zip(lines, rows[1::2]):
        start, end, _, name, value = row.split(',')
        assert (
            line
            == f'{float(start):8.2f} to {float(end):8.2f} s  {100 * float(value):5.1f} %  {name}'
        )


def test_a_name_that_is_not_utf8(video, checkpoint, tmp_path, name_not_utf8, capsys):
    path = shutil.copy(video, tmp_path / name_not_utf8)
    assert demo(path, checkpoint, '--frames', 8, '--clips', 1) == 0
    assert '/caf\ufffd.mp4:\n' in capsys.readouterr().out


def test_errors_are_sentences(video, checkpoint, tmp_path, capsys):
    pretrained = models.save(models.pretrained(), tmp_path / 'pre.pth')
    labels = tmp_path / 'labels.txt'
    labels.write_text('one\ntwo\n')
    bad = tmp_path / 'bad.mp4'
    bad.write_bytes(b'no video')
    frames = ('--frames', 8)
    for call, said in (
        ((video, pretrained, *frames), 'the model has no classifier'),
        ((video, checkpoint, *frames, '--labels', labels), 'has 2 names'),
        ((bad, checkpoint, *frames), f'cannot read {bad}'),
        ((video, tmp_path / 'no.pth'), 'There is no file'),
        ((video, checkpoint, '--config', 'no.py'), 'no config file no.py'),
        ((video, checkpoint, *frames, '--out', 'x.csv'), '.mp4 or .gif'),
        ((video, checkpoint, *frames, '--window', '9', '--out', 'x.avi'), 'one of .csv'),
        ((video, checkpoint, *frames, '--window', '2m'), "window='2m'"),
    ):
        assert demo(*call) == 2
        assert said in capsys.readouterr().err
