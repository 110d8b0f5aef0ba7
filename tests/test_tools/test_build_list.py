"""tools/data/build_list.py on small data sets in the official layouts."""

import json

import pytest
from amd_mm.datasets import VideoListDataset
from mmengine.config import Config

from ..conftest import REPOSITORY
from .tool_scripts import load_tool

TOOL = load_tool('data/build_list')


def put(path, text='x'):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def sthv2(root):
    """Classes whose labels are not in alphabetical order."""
    labels = {'Pushing something': '1', 'Bending something': '0'}
    put(root / 'annotations/labels.json', json.dumps(labels))
    train = [
        dict(id='10', label='x', template='Pushing [something]'),
        dict(id='11', label='x', template='Bending [something]'),
        dict(id='12', label='x', template='Bending [something]'),
    ]
    put(root / 'annotations/train.json', json.dumps(train))
    put(root / 'annotations/validation.json', json.dumps(train[:1]))
    for name in ('10.webm', '11.mp4', '12.webm'):
        put(root / 'videos' / name)
    return {
        'sthv2_train_list_videos': ['10.webm 1', '11.mp4 0', '12.webm 0'],
        'sthv2_val_list_videos': ['10.webm 1'],
    }, ['Bending something', 'Pushing something']


def kinetics400(root):
    """Folders of classes with spaces, and a bare YouTube name."""
    head = 'label,youtube_id,time_start,time_end,split\n'
    put(
        root / 'annotations/train.csv',
        head + 'riding mule,-a_b,7,17,train\n'
        '"air drumming",cc,120,130,train\nair drumming,dd,0,10,train\n',
    )
    put(root / 'annotations/val.csv', head + 'riding mule,ee,1,11,val\n')
    put(root / 'videos_train/riding mule/-a_b_000007_000017.mp4')
    put(root / 'videos_train/air_drumming/cc_000120_000130.mkv')
    put(root / 'videos_train/dd.mp4')
    put(root / 'videos_val/ee_000001_000011.mp4')
    return {
        'kinetics400_train_list_videos': [
            'riding mule/-a_b_000007_000017.mp4 1',
            'air_drumming/cc_000120_000130.mkv 0',
            'dd.mp4 0',
        ],
        'kinetics400_val_list_videos': ['ee_000001_000011.mp4 1'],
    }, ['air drumming', 'riding mule']


def ucf101(root):
    put(root / 'annotations/classInd.txt', '1 Archery\n2 YoYo\n')
    for split in (1, 2, 3):
        put(
            root / f'annotations/trainlist{split:02d}.txt',
            f'Archery/v_a_{split}.avi 1\nYoYo/v_y_{split}.avi 2\n',
        )
        put(
            root / f'annotations/testlist{split:02d}.txt',
            'YoYo/v_same.avi\r\nArchery/v_same.avi\r\n',
        )
        put(root / f'videos/Archery/v_a_{split}.avi')
        put(root / f'videos/YoYo/v_y_{split}.mp4')  # re-encoded
    put(root / 'videos/YoYo/v_same.avi')
    put(root / 'videos/Archery/v_same.avi')
    return {
        'ucf101_train_split_1_videos': ['Archery/v_a_1.avi 0', 'YoYo/v_y_1.mp4 1'],
        'ucf101_val_split_1_videos': ['YoYo/v_same.avi 1', 'Archery/v_same.avi 0'],
    }, ['Archery', 'YoYo']


def hmdb51(root):
    put(root / 'annotations/wave_test_split1.txt', '#1 wave (x)_0.avi 1 \nw2.avi 2 \nw3.avi 0 \n')
    put(root / 'annotations/brush_hair_test_split1.txt', 'b.avi 2 \n')
    put(root / 'annotations/brush_hair_test_split2.txt', 'b.avi 1 \n')
    for name in ('wave/#1 wave (x)_0.avi', 'wave/w2.avi', 'wave/w3.avi', 'brush_hair/b.avi'):
        put(root / 'videos' / name)
    return {
        'hmdb51_train_split_1_videos': ['wave/#1 wave (x)_0.avi 1'],
        'hmdb51_val_split_1_videos': ['brush_hair/b.avi 0', 'wave/w2.avi 1'],
    }, ['brush_hair', 'wave']


SETS = dict(sthv2=sthv2, kinetics400=kinetics400, ucf101=ucf101, hmdb51=hmdb51)


@pytest.fixture
def run(tmp_path, capsys):
    """Run the tool on ``tmp_path``; gives exit code, stdout, stderr."""

    def call(name, *options, classes=2):
        code = TOOL.main(
            [name, '--data-root', str(tmp_path), '--num-classes', str(classes), *options]
        )
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def lines(path):
    return path.read_text().splitlines()


@pytest.mark.parametrize('name', SETS)
def test_lists(name, run, tmp_path):
    expected, classes = SETS[name](tmp_path)
    code, out, err = run(name)
    assert code == 0, err
    for stem, entries in expected.items():
        assert lines(tmp_path / f'{stem}.txt') == entries
        assert lines(tmp_path / f'{stem}_missing.txt') == []
        assert f'{stem}: {len(entries)} of {len(entries)}' in out
    assert lines(tmp_path / 'label_map.txt') == classes
    # As training reads them.
    stem, entries = next(iter(expected.items()))
    folder = tmp_path / TOOL.DATA_SETS[name].folder.format(part='train')
    dataset = VideoListDataset(
        f'{stem}.txt', [], data_root=str(tmp_path), data_prefix=dict(video=folder.name)
    )
    for index, line in enumerate(entries):
        path, label = line.rsplit(' ', 1)
        info = dataset.get_data_info(index)
        assert (info['filename'], info['label']) == (str(folder / path), int(label))


@pytest.mark.parametrize('name', SETS)
def test_names_are_those_of_the_configs(name):
    config = dict(kinetics400='k400').get(name, name)
    cfg = Config.fromfile(REPOSITORY / f'configs/_base_/datasets/{config}_recognition.py')
    data_set = TOOL.DATA_SETS[name]
    for part in ('train', 'val'):
        dataset = cfg[f'{part}_dataloader'].dataset
        assert dataset.ann_file == data_set.list_name.format(part=part, split=1) + '.txt'
        assert dataset.data_root == f'data/{name}'
        assert dataset.data_prefix.video == data_set.folder.format(part=part)
        assert dataset.num_classes == data_set.num_classes


def test_several_splits(run, tmp_path):
    ucf101(tmp_path)
    assert run('ucf101', '--split', '2', '3')[0] == 0
    assert lines(tmp_path / 'ucf101_train_split_3_videos.txt') == [
        'Archery/v_a_3.avi 0',
        'YoYo/v_y_3.mp4 1',
    ]
    assert not (tmp_path / 'ucf101_train_split_1_videos.txt').exists()
    with pytest.raises(SystemExit):
        run('ucf101', '--split', '4')
    with pytest.raises(SystemExit):
        run('sthv2', '--split', '1')


def test_missing_and_empty_videos(run, tmp_path):
    sthv2(tmp_path)
    (tmp_path / 'videos/11.mp4').unlink()
    put(tmp_path / 'videos/12.webm', '')
    code, out, _ = run('sthv2', '--require-all')
    assert code == 1
    assert 'no list is written: 2 videos are missing' in out
    assert not (tmp_path / 'sthv2_train_list_videos.txt').exists()
    missing = tmp_path / 'sthv2_train_list_videos_missing.txt'
    assert lines(missing) == ['11 0', '12 0']
    code, out, _ = run('sthv2')
    assert code == 0
    assert 'sthv2_train_list_videos: 1 of 3 videos are there' in out
    assert str(missing) in out
    assert lines(tmp_path / 'sthv2_train_list_videos.txt') == ['10.webm 1']


def test_lists_are_not_lost(run, tmp_path):
    sthv2(tmp_path)
    assert run('sthv2')[0] == 0
    assert run('sthv2')[0] == 0  # nothing would change
    path = put(tmp_path / 'sthv2_train_list_videos.txt', 'mine.mp4 1')
    code, _, err = run('sthv2')
    assert code == 2 and '--overwrite' in err
    assert path.name in err and path.read_text() == 'mine.mp4 1'
    assert run('sthv2', '--overwrite')[0] == 0
    assert len(lines(path)) == 3


BROKEN = [
    ('sthv2', 'labels.json', '{"a": "0",\n "b" "1"}', 'line 2'),
    ('sthv2', 'train.json', '{}', 'none of the 0 videos'),
    ('sthv2', 'train.json', '[{"id": "1"}]', 'template'),
    ('sthv2', 'train.json', '[{"id": "1", "template": "Q"}]', "'Q', of video 1, is not a class"),
    ('kinetics400', 'train.csv', 'a,b\n1,2\n', 'youtube_id'),
    ('kinetics400', 'train.csv', 'label,youtube_id,time_start,time_end\na,b,x,2\n', "'x'"),
    (
        'kinetics400',
        'val.csv',
        'label,youtube_id,time_start,time_end\nnew,b,1,2\n',
        "'new', of video b",
    ),
    ('ucf101', 'classInd.txt', '1 Archery\nYoYo\n', 'not as the data set has it'),
    ('ucf101', 'trainlist01.txt', '\nX/v.avi 1\n', "'X', of video X/v, is not a class"),
    ('hmdb51', 'wave_test_split1.txt', 'w2.avi 3\n', "'3'"),
]


@pytest.mark.parametrize('name, file, text, says', BROKEN)
def test_broken_annotations(name, file, text, says, run, tmp_path):
    SETS[name](tmp_path)
    put(tmp_path / 'annotations' / file, text)
    code, _, err = run(name)
    assert code == 2 and says in err
    assert file in err or 'video' in says
    assert not list(tmp_path.glob('*.txt'))


def test_other_mistakes(run, tmp_path):
    assert 'no annotation file classInd.txt' in run('ucf101')[2]
    assert '<class>_test_split1.txt' in run('hmdb51')[2]
    sthv2(tmp_path)
    for video in (tmp_path / 'videos').iterdir():
        video.rename(video.with_name('x' + video.name))
    code, _, err = run('sthv2')
    assert code == 2 and 'none of the 3 videos' in err and '(10 1)' in err
    ucf101(tmp_path)
    assert '2 classes, not 101' in run('ucf101', classes=101)[2]
    put(tmp_path / 'videos/YoYo/v_same.mp4')
    assert 'v_same.mp4 are the same video' in run('ucf101')[2]
