"""From a csv of boxes and actions to a trained and tested detector."""

import csv

import pytest
from amd_mm.datasets.ava_files import read_label_map, read_proposals
from amd_mm.engine.agreement import check_numbers
from mmengine.config import Config
from mmengine.runner import Runner

from ..conftest import REPOSITORY
from ..test_detection.needed import skip_without_mmdet
from ..test_detection.people import ACTIONS, HEIGHT, START, WIDTH, make_people
from ..test_detection.tiny_detector import tiny_model
from .tool_scripts import load_tool

TOOL = load_tool('data/ava/own_actions')
BASE = str(REPOSITORY / 'configs/amd/detection/amd_vit-small-p16_8xb16-16x4x1-30e_ava22.py')


@pytest.fixture(scope='module')
def own(tmp_path_factory):
    """Videos of four seconds, and a csv as a person would write it: pixels, seconds, names."""
    folder = tmp_path_factory.mktemp('own')
    paths = make_people(folder / 'set', videos=4)
    rows = [['time', 'video', 'x1', 'y1', 'x2', 'y2', 'class', 'person']]
    with open(paths['ann_file']) as file:
        for video, time, x1, y1, x2, y2, label, person in csv.reader(file):
            x1, x2 = (float(one) * WIDTH for one in (x1, x2))
            y1, y2 = (float(one) * HEIGHT for one in (y1, y2))
            rows.append(
                [int(time) - START, f'{video}.avi', x1, y1, x2, y2, ACTIONS[int(label)], person]
            )
    with (folder / 'boxes.csv').open('w', newline='', encoding='utf-8-sig') as file:
        csv.writer(file).writerows(rows)
    return folder, paths


def test_from_a_csv_to_a_tested_detector(own, tmp_path, capsys):
    skip_without_mmdet()
    folder, paths = own
    out = tmp_path / 'mine'
    arguments = [str(folder / 'boxes.csv'), paths['videos'], str(out), '--base', BASE]
    assert TOOL.main(arguments) == 0
    assert '18 lines of 3 videos to train, 6 of 1 to test; 3 actions: jump,' in (
        capsys.readouterr().out
    )
    # The proposals are the true boxes of the videos that test, as shares.
    proposals = read_proposals(str(out / 'proposals.pkl'))
    theirs = read_proposals(paths['proposal_file'])
    assert len(proposals) == 3
    for key, boxes in proposals.items():
        video, time = key.split(',')
        true = theirs[f'{video},{int(time) + START:04d}'][1:, :4]
        assert abs(boxes[boxes[:, 0].argsort()] - true[true[:, 0].argsort()]).max() < 0.02
    cfg = Config.fromfile(out / 'config.py')
    check_numbers(cfg)
    assert cfg.model.roi_head.bbox_head.topk == (3,)
    cfg.work_dir = str(tmp_path / 'work')
    tiny_model(cfg.model)
    for part in ('train', 'val', 'test'):
        loader = cfg[f'{part}_dataloader']
        loader.update(batch_size=2, num_workers=0, persistent_workers=False, pin_memory=False)
        for transform in loader.dataset.pipeline:
            if 'clip_len' in transform:
                transform.update(clip_len=8, frame_interval=1)
            if 'scale' in transform:
                transform.scale = (-1, 48)
    cfg.optim_wrapper.precision = 'fp32'
    cfg.train_cfg.update(max_epochs=1)
    cfg.param_scheduler = None
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert len(runner.train_dataloader.dataset) == 9
    found = runner.test()
    names = read_label_map(str(out / 'actions.pbtxt'))
    assert names == {1: 'jump', 2: 'stand', 3: 'walk'}
    tested = {f'mAP/{label}_{name}' for label, name in names.items()}
    assert found.keys() & tested and 0 <= found['mAP/overall'] <= 1


@pytest.mark.parametrize(
    'text, options, said',
    [
        ('video,time,x1,y1,x2,y2\n', (), 'its header lacks class'),
        ('video,time,x1,y1,x2,y2,class\n', (), 'has no boxes'),
        ('video,time,x1,y1,x2,y2,class\n0,1.5,0,0,1,1,a\n', (), 'line 2: time is not a whole'),
        ('video,time,x1,y1,x2,y2,class\n0,1,0,0,1,1,\n', (), 'line 2: it has no class'),
        ('video,time,x1,y1,x2,y2,class\n0,1,0,,1,1,a\n', (), "line 2: y1 is not a number: ''"),
        ('video,time,x1,y1,x2,y2,class\n9,1,0,0,1,1,a\n', (), "such as '9'"),
        ('video,time,x1,y1,x2,y2,class\n0,1,9,0,1,1,a\n', (), 'the box of 0 at 1 s'),
        ('video,time,x1,y1,x2,y2,class\n0,1,0,0,1,1,a\n', (), 'at least two videos'),
        ('video,time,x1,y1,x2,y2,class\n0,1,0,0,1,1,a\n', ('--classes',), 'lacks the classes a'),
    ],
)
def test_wrong_files(own, tmp_path, capsys, text, options, said):
    _, paths = own
    (tmp_path / 'boxes.csv').write_text(text)
    (tmp_path / 'classes.txt').write_text('b\nc\n')
    options = [*options, str(tmp_path / 'classes.txt')] if options else []
    arguments = [str(tmp_path / 'boxes.csv'), paths['videos'], str(tmp_path / 'out')]
    assert TOOL.main([*arguments, *options]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()
