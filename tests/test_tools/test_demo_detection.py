"""tools/demo_detection.py: the model's own scores, in the right places."""

import sys
from pathlib import Path

import amd_mm  # noqa: F401, its import-time fixes
import numpy as np
import pytest
import torch
from amd_mm.datasets import open_video
from amd_mm.datasets.ava_files import read_proposals
from amd_mm.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from PIL import Image

from ..test_detection.needed import skip_without_mmdet
from ..test_detection.people import ACTIONS, SIZE, make_people
from ..test_detection.tiny_detector import DETECTION, tiny_config
from .tool_scripts import load_tool

DEMO = load_tool('demo_detection')


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    """Files, config and checkpoint of a detector with random weights."""
    skip_without_mmdet()
    folder = tmp_path_factory.mktemp('demo')
    paths = make_people(folder / 'set', videos=1)
    cfg = tiny_config(paths, paths, folder / 'work')
    # Other than 30, and than that of the videos.
    cfg.test_dataloader.dataset.fps = 20
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    # So that scores differ.
    torch.nn.init.normal_(model.roi_head.bbox_head.fc_cls.weight, std=0.5)
    (folder / 'work').mkdir()
    checkpoint = folder / 'work/last.pth'
    torch.save(dict(state_dict=model.state_dict()), checkpoint)
    cfg.dump(folder / 'work/config.py')
    (folder / 'work/last_checkpoint').write_text('last.pth')
    video = str(folder / 'set/videos/0.mp4')
    return dict(paths, video=video, checkpoint=checkpoint, model=model.eval(), cfg=cfg)


def demo(made, *options, video=None, checkpoint=None):
    places = video or made['video'], checkpoint or made['checkpoint'], '--device', 'cpu'
    return DEMO.main([str(one) for one in (*places, *options)])


def proposals(made, *options):
    return ('--proposals', made['proposal_file'], '--starts-at', 900, *options)


@torch.no_grad()
def scores_in_testing(made):
    """Frame key -> boxes and scores, through data set and evaluation."""
    dataset = DATASETS.build(made['cfg'].test_dataloader.dataset)
    found = {}
    for index in range(len(dataset)):
        result = made['model'].test_step(pseudo_collate([dataset[index]]))[0].pred_instances
        key = dataset.get_data_info(index)['img_key']
        found[key] = result.bboxes.numpy(), result.scores.numpy()
    return found


def test_scores_are_those_of_testing(made, tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(DEMO, 'write', lambda _, people: drawn.update(people))
    assert demo(made, *proposals(made, '--frames', tmp_path, '--threshold', 0, '--top', 3)) == 0
    assert sorted(drawn) == [1, 2, 3]
    expected = scores_in_testing(made)
    assert '0,0901' in expected and '0,0902' not in expected  # excluded
    for key, (boxes, scores) in expected.items():
        people = drawn[int(key[-4:]) - 900]
        assert len(people) == len(boxes) == 2  # that of confidence 0.3 is not
        for person, box, row in zip(people, boxes, scores):
            np.testing.assert_allclose(person.box, box, atol=1e-3)
            values = [value for _, value in person.actions]
            assert values == sorted(values, reverse=True)
            names = {ACTIONS[i]: row[i] for i in ACTIONS}
            for name, value in person.actions:
                assert value == pytest.approx(names[name], abs=1e-4)
            assert np.ptp(values) > 1e-3


def frames_of(path, indices):
    with open_video(str(path)) as reader:
        assert len(reader) == 40
        return reader.read(indices)


def distance(frame, other):
    """Mean difference, after both are enlarged."""
    images = (Image.fromarray(one).resize((320, 240)) for one in (frame, other))
    frame, other = (np.asarray(one, int) for one in images)
    return np.abs(frame - other).mean()


def test_video_and_frames(made, tmp_path, capsys):
    options = '--out', tmp_path / 'new/a.mp4', '--frames', tmp_path / 'png'
    assert demo(made, *proposals(made, *options, '--threshold', 0)) == 0
    out = capsys.readouterr().out
    assert f'config: {Path(made["checkpoint"]).parent}/config.py' in out
    assert '6 people of confidence 0.8 at 3 times' in out
    assert '6 of 6  walk' in out
    names = [path.name for path in sorted((tmp_path / 'png').iterdir())]
    assert names == ['0_0901.png', '0_0902.png', '0_0903.png']
    # The edge of the box of the left person, in its colour.
    boxes = read_proposals(made['proposal_file'])['0,0901']
    box = min((box for box in boxes if box[4] > 0.8), key=lambda box: box[0])
    picture = np.asarray(Image.open(tmp_path / 'png/0_0901.png'))
    line, column = round(box[3] * 239), round((box[0] + box[2]) / 2 * 319)
    assert tuple(picture[line, column]) == (230, 159, 0)
    # In the video the actions of 901 s show from frame 5, half a second earlier.
    originals = frames_of(made['video'], [4, 5, 10])
    before, first, middle = frames_of(tmp_path / 'new/a.mp4', [4, 5, 10])
    assert middle.shape == (240, 320, 3)
    assert distance(before, originals[0]) < 6 < distance(first, originals[1])
    assert distance(middle, picture) < distance(middle, originals[2]) / 2


def test_a_csv_in_pixels_and_other_times(made, tmp_path, capsys):
    rows = [
        f'other,{int(key[-4:]) - 900},' + ','.join(map(str, [*(box[:4] * SIZE), box[4]]))
        for key, boxes in read_proposals(made['proposal_file']).items()
        for box in boxes
    ]
    path = tmp_path / 'boxes.csv'
    path.write_text('\n'.join(rows) + '\n')
    file = '--proposals', path, '--pixels', '--video-id', 'other', '--labels', made['label_file']
    options = '--frames', tmp_path / 'png', '--every', 2, '--confidence', 0.2
    assert demo(made, *file, *options) == 0
    assert '6 people of confidence 0.2 at 2 times' in capsys.readouterr().out
    names = [path.name for path in sorted((tmp_path / 'png').iterdir())]
    assert names == ['0_0001.png', '0_0003.png']


TINY_YOLOX = """
_base_ = 'mmdet::yolox/yolox_tiny_8xb8-300e_coco.py'
model = dict(
    backbone=dict(widen_factor=0.125, deepen_factor=0.1),
    neck=dict(in_channels=[32, 64, 128], out_channels=16, num_csp_blocks=1),
    bbox_head=dict(in_channels=16, feat_channels=16),
    test_cfg=dict(score_thr=0., max_per_img=30))
"""


def test_people_from_a_detector(made, tmp_path, capsys):
    """A real detector of mmdet, with random weights; times between seconds."""
    from mmdet.apis import inference_detector, init_detector

    config, checkpoint = tmp_path / 'yolox.py', tmp_path / 'yolox.pth'
    config.write_text(TINY_YOLOX)
    torch.manual_seed(0)
    with pytest.warns(UserWarning, match='checkpoint is None'):
        model = init_detector(str(config), None, device='cpu')
    torch.nn.init.normal_(model.bbox_head.multi_level_conv_cls[0].bias)
    torch.save(dict(state_dict=model.state_dict(), meta={}), checkpoint)
    frame = frames_of(made['video'], [15])[0]
    expected = inference_detector(model, frame[..., ::-1].copy()).pred_instances
    category = int(expected.labels.mode()[0])
    expected = expected[expected.labels == category]
    detector = '--detector-config', config, '--detector-checkpoint', checkpoint
    options = *detector, '--category', category, '--frames', tmp_path / 'png'
    args = DEMO.parse_args([made['video'], 'x', '--device', 'cpu', *map(str, options)])
    found = DEMO.boxes_from_detector(args, [1.5], SIZE[:2])[1.5]
    wanted = expected.bboxes.numpy().clip(0, SIZE)
    np.testing.assert_allclose(found[:, :4] * SIZE, wanted, atol=1e-3)
    np.testing.assert_allclose(found[:, 4], expected.scores.numpy())
    best = float(expected.scores.sort(descending=True).values[3])  # drawing all takes seconds
    assert demo(made, *options, '--confidence', best, '--every', 2.5) == 0
    assert f'people of confidence {best:g} at 2 times' in capsys.readouterr().out
    names = [path.name for path in sorted((tmp_path / 'png').iterdir())]
    assert names == ['0_0000.00.png', '0_0002.50.png']


def test_a_config_for_raw_frames_serves_for_videos():
    videos, frames = (
        DEMO.clip_pipeline(
            Config.fromfile(
                DETECTION / f'amd_vit-small-p16_8xb16-16x4x1-30e_{data}.py'
            ).test_dataloader.dataset,
            'pyav',
        )
        for data in ('ava22', 'ava-kinetics-rawframes')
    )
    assert videos == frames
    assert videos[0]['backend'] == 'pyav' and videos[1]['clip_len'] == 16


def test_errors_are_sentences(made, tmp_path, capsys):
    recogniser, bad = tmp_path / 'rec.pth', tmp_path / 'bad.mp4'
    torch.save({'cls_head.fc_cls.weight': torch.zeros(3, 3)}, recogniser)
    bad.write_bytes(b'no video')
    config = tmp_path / 'cfg.py'
    config.write_text('model = dict(type="mmaction.Recognizer3D")')
    out = '--out', tmp_path / 'x.mp4'
    good = proposals(made, *out)
    file = good[:2]
    theirs = '--config', made['checkpoint'].with_name('config.py')
    absent = '--detector-config', 'no.py', '--detector-checkpoint', 'x'
    for options, places, said in (
        (good, dict(checkpoint=recogniser), 'give it with --config'),
        ((*good, *theirs), dict(checkpoint=recogniser), 'rec.pth'),
        (good, dict(video=bad), f'cannot read {bad}'),
        ((*file, *out), {}, 'has 901 to 903 s, and the video lasts from 0 to 4.0 s'),
        ((*good, '--video-id', 'x'), {}, "has no boxes of 'x'"),
        ((*good, '--confidence', 1), {}, 'no person has a confidence of 1'),
        ((*good, '--config', config), {}, 'is not of an action detector'),
        ((*good, '--labels', 'no.pbtxt'), {}, 'no.pbtxt'),
        ((*out, *absent), {}, 'there is no config file no.py'),
    ):
        assert demo(made, *options, **places) == 2, said
        assert said in capsys.readouterr().err
    for options, said in (
        (file, 'nothing to write'),
        (out, 'either --proposals, or'),
        ((*out, '--detector-config', 'x'), 'belong together'),
        ((*good, '--every', 0), '--every has to be above 0'),
    ):
        with pytest.raises(SystemExit):
            demo(made, *options)
        assert said in capsys.readouterr().err
    assert not Path(out[1]).exists()


def test_without_mmdet(made, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, 'mmdet', None)
    assert demo(made, *proposals(made, '--out', tmp_path / 'x.mp4')) == 2
    assert 'tools/install.sh' in capsys.readouterr().err
