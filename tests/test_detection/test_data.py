"""Reading AVA-style files, and what is noticed when they do not meet."""

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from amd_mm.datasets import CheckedAVADataset, CheckedAVAKineticsDataset, UnreadableVideoError
from amd_mm.datasets.ava_files import (
    read_exclusions,
    read_label_map,
    read_proposals,
    scan_annotations,
)
from amd_mm.errors import VideoError
from amd_mm.registry import DATASETS, TRANSFORMS
from mmengine.logging import MMLogger

from ..conftest import real_data_folder
from . import people as made

DECODE = dict(
    videos=[
        dict(type='amd_mm.VideoInit', backend='pyav'),
        dict(type='amd_mm.SampleAVAClip', clip_len=8, frame_interval=1, test_mode=True),
        dict(type='amd_mm.VideoDecode'),
    ],
    frames=[
        dict(type='amd_mm.SampleAVAClip', clip_len=8, frame_interval=1, test_mode=True),
        dict(type='amd_mm.CheckedRawFrameDecode'),
    ],
)
FORMAT = [
    dict(type='mmaction.FormatShape', input_format='NCTHW', collapse=True),
    dict(type='mmaction.PackActionInputs'),
]


@pytest.fixture
def paths(people, tmp_path):
    """A copy of the people that a test may change."""
    folder = tmp_path / 'copy'
    shutil.copytree(Path(people['ann_file']).parent, folder)
    return {name: str(folder / Path(path).name) for name, path in people.items()}


@pytest.fixture
def log(tmp_path, request):
    """What is logged, as a function."""
    path = tmp_path / 'run.log'
    MMLogger.get_instance(request.node.name, log_file=str(path))
    return path.read_text


def build(paths, media='videos', **other):
    cfg = dict(
        type='amd_mm.CheckedAVADataset',
        pipeline=DECODE[media] + FORMAT,
        data_prefix={dict(videos='video', frames='img')[media]: paths[media]},
        num_classes=4,
        fps=made.FPS,
        person_det_score_thr=0.8,
        test_mode=True,
        **{k: v for k, v in paths.items() if k.endswith('_file')},
    )
    return DATASETS.build(dict(cfg, **other))


def edit(path, change):
    Path(path).write_text(change(Path(path).read_text()))


def edit_proposals(path, change):
    proposals = pickle.loads(Path(path).read_bytes())
    Path(path).write_bytes(pickle.dumps(change(proposals)))


# What is read.


def test_frames_boxes_and_proposals(people, log):
    dataset = build(people)
    # Three times in each of three videos, but two frames are excluded.
    assert len(dataset) == 7
    packed = dataset[0]
    assert packed['inputs'].shape == (3, 8, made.HEIGHT, made.WIDTH)
    sample = packed['data_samples']
    assert (sample.video_id, sample.timestamp) == ('0', 901)
    # The box of confidence 0.3 is not among them.
    assert sample.proposals.bboxes.shape == (2, 4)
    assert sample.gt_instances.labels.sum(1).tolist() == [1, 1]
    assert sample.gt_instances.labels.shape == (2, 4)
    torch.testing.assert_close(
        sample.proposals.bboxes, sample.gt_instances.bboxes.float(), atol=1.0, rtol=0
    )
    assert sample.gt_instances.bboxes.max() > 10  # pixels
    assert '3 videos (3 found' in log() and '7 frames' in log()
    assert 'WARNING' not in log()


def test_videos_and_frames_are_the_same_clips(people):
    """Also the clip is centred on the time stamp."""
    clips = [build(people, media)[3]['inputs'].float() for media in ('videos', 'frames')]
    # Compressed differently.
    assert (clips[0] - clips[1]).abs().mean() < 6
    drawn = build(people)[3]
    box = drawn['data_samples'].gt_instances.bboxes[0].round().int()
    x1, y1, x2, y2 = (int(v) for v in box)
    body = clips[1][:, 4, (y1 + y2) // 2 + 2 : y2 - 2, x1 + 2 : x2 - 2]
    assert body.mean() > 150  # background is below 90


@pytest.mark.parametrize('rate', [5, 20])
def test_clips_of_another_rate_show_the_same_times(rate):
    sampler = TRANSFORMS.build(
        dict(type='amd_mm.SampleAVAClip', clip_len=4, frame_interval=4, test_mode=True)
    )
    info = dict(
        fps=10,
        timestamp=903,
        timestamp_start=900,
        start_index=0,
        filename='a.mp4',
        avg_fps=float(rate),
        total_frames=rate * 6,
    )
    found = sampler(dict(info))['frame_inds']
    # 8 frames of 10 a second before and 4 after the third second.
    assert found.tolist() == [x * rate // 10 for x in (22, 26, 30, 34)]
    with pytest.raises(UnreadableVideoError, match='timestamp 908 is 8 s'):
        sampler(dict(info, timestamp=908))
    with pytest.raises(UnreadableVideoError, match='frame rate'):
        sampler(dict(info, avg_fps=0.0))
    # The last second may lack a bit; its last frame is repeated.
    late = sampler(dict(info, timestamp=906))['frame_inds']
    assert rate * 6 - 2 <= late[2] == late[3] < rate * 6


def test_first_frame_is_counted_once():
    sampler = TRANSFORMS.build(
        dict(type='amd_mm.SampleAVAClip', clip_len=2, frame_interval=2, test_mode=True)
    )
    info = dict(fps=30, timestamp=902, timestamp_start=900, start_index=1, shot_info=(0, 120))
    # img_00061.jpg is the frame 60, two seconds after the beginning.
    assert sampler(info)['frame_inds'].tolist() == [59, 61]


def test_training_shifts_frames(people):
    np.random.seed(0)
    sampler = TRANSFORMS.build(dict(type='amd_mm.SampleAVAClip', clip_len=8, frame_interval=4))
    info = dict(fps=30, timestamp=902, timestamp_start=900, start_index=1, shot_info=(0, 120))
    centres = 61 + np.arange(-16, 16, 4)
    shifts = np.stack([sampler(dict(info))['frame_inds'] - centres for _ in range(20)])
    assert shifts.min() == -2 and shifts.max() == 1


def test_ground_truth_proposals():
    boxes = np.array([[0.1, 0.2, 0.3, 0.6], [0.0, 0.5, 1.0, 1.0]])
    plain = TRANSFORMS.build(dict(type='amd_mm.GroundTruthProposals'))
    assert np.array_equal(plain(dict(gt_bboxes=boxes))['proposals'], boxes)
    np.random.seed(0)
    jitter = TRANSFORMS.build(dict(type='amd_mm.GroundTruthProposals', copies=50, jitter=0.025))
    found = jitter(dict(gt_bboxes=boxes))['proposals'].reshape(51, 2, 4)
    assert np.array_equal(found[0], boxes)
    assert found.min() >= 0 and found.max() <= 1
    low, high = np.maximum(found, boxes), np.minimum(found, boxes)
    both = (high[..., 2:] - low[..., :2]).prod(-1)
    area = (found[..., 2:] - found[..., :2]).prod(-1)
    truth = (boxes[:, 2:] - boxes[:, :2]).prod(-1)
    overlap = both / (area + truth - both)
    assert (overlap >= 0.95**2 - 1e-9).all()
    assert overlap.min() < 0.96
    for wrong in (dict(copies=1), dict(jitter=0.1), dict(copies=-1), dict(copies=1, jitter=0.5)):
        with pytest.raises(ValueError, match='copies|jitter'):
            TRANSFORMS.build(dict(type='amd_mm.GroundTruthProposals', **wrong))


def test_proposals_of_ground_truth_in_a_data_set(people):
    pipeline = [dict(type='amd_mm.GroundTruthProposals')] + DECODE['videos'] + FORMAT
    sample = build(people, proposal_file=None, pipeline=pipeline, test_mode=False)[1][
        'data_samples'
    ]
    assert torch.equal(sample.proposals.bboxes, sample.gt_instances.bboxes)


def test_without_exclusions(people):
    assert len(build(people, exclude_file=None)) == 9


def test_custom_classes(people):
    dataset = build(people, custom_classes=[2, 3], num_classes=3)
    labels = [dataset.get_data_info(i)['gt_labels'] for i in range(len(dataset))]
    assert all(one.shape[1] == 3 for one in labels)


def test_files_below_data_root(people):
    folder, names = os.path.split(people['ann_file'])[0], {}
    for name, path in people.items():
        names[name] = os.path.basename(path)
    assert len(build(names, data_root=folder)) == 7


def test_unknown_argument_is_an_error(people):
    with pytest.raises(TypeError, match='no_such_argument'):
        build(people, no_such_argument=1)


def test_media_is_one_of_two(people):
    with pytest.raises(ValueError, match='either'):
        build(people, data_prefix=dict(img='a', video='b'))


def test_kinetics(paths):
    """Clips of Kinetics: their seconds and their proposals' keys."""
    name = 'kkkkkkkkkkk_000903_000907'
    edit(paths['ann_file'], lambda text: text.replace('2,090', f'{name},090'))
    os.rename(Path(paths['frames']) / '2', Path(paths['frames']) / name)
    edit_proposals(
        paths['proposal_file'],
        lambda old: {
            ('kkkkkkkkkkk,' + key[2:] if key.startswith('2,') else key): value
            for key, value in old.items()
        },
    )
    edit(
        paths['ann_file'],
        lambda text: ''.join(
            line for line in text.splitlines(True) if not line.startswith(name) or ',0903,' in line
        ),
    )
    dataset = build(
        paths, 'frames', type='amd_mm.CheckedAVAKineticsDataset', timestamp_start=made.START
    )
    assert isinstance(dataset, CheckedAVAKineticsDataset)
    assert len(dataset) == 5
    clip = dataset[4]
    assert clip['data_samples'].video_id == name
    assert clip['data_samples'].proposals.bboxes.shape == (2, 4)
    # It begins at second 903: this is its first frame, repeated before.
    assert (clip['inputs'][:, 0] == clip['inputs'][:, 4]).all()
    assert (clip['inputs'][:, 4] != clip['inputs'][:, 7]).any()


def test_real_sample(tmp_path, log):
    """MMAction2's sample of AVA: csv, exclusions, label map, proposals."""
    folder = real_data_folder() / 'ava_sample'
    if not folder.is_dir():
        pytest.skip(f'there is no sample of AVA in {folder}')
    frames = tmp_path / '_-Z6wFjXtGQ'
    annotations = scan_annotations(str(folder / 'ava_sample.csv'), 81)
    annotations.check()
    assert annotations.timestamps == {'0f39OWEqJ24': {902, 903}, '_-Z6wFjXtGQ': {902}}
    for video in annotations.timestamps:
        frames = tmp_path / video
        frames.mkdir()
        for time in (2, 3):
            (frames / f'img_{30 * time + 1:05}.jpg').touch()
    dataset = CheckedAVADataset(
        str(folder / 'ava_sample.csv'),
        [],
        exclude_file=str(folder / 'ava_excluded_timestamps_sample.csv'),
        label_file=str(folder / 'action_list.txt'),
        proposal_file=str(folder / 'ava_proposals_sample.pkl'),
        person_det_score_thr=0.8,
        data_prefix=dict(img=str(tmp_path)),
    )
    (info,) = [dataset.get_data_info(i) for i in range(len(dataset))]
    assert info['img_key'] == '0f39OWEqJ24,0902'
    assert info['gt_labels'].nonzero()[1].tolist() == [12, 17, 79]
    np.testing.assert_allclose(info['proposals'], [[0.011, 0.157, 0.655, 0.983]])
    assert 'labels 74 ' in log()


# What does not meet.


def test_no_common_frame_with_the_proposals(paths):
    edit_proposals(
        paths['proposal_file'], lambda old: {key.replace(',0', ','): v for key, v in old.items()}
    )
    with pytest.raises(VideoError, match="'0,0901'.*'0,901'"):
        build(paths)


def test_some_frames_without_proposals(paths, log):
    edit_proposals(
        paths['proposal_file'],
        lambda old: {
            key: value if key != '1,0901' else np.zeros((0, 5))
            for key, value in old.items()
            if key != '2,0902'
        },
    )
    dataset = build(paths)
    assert '2 of 7 frames' in log() and "'1,0901', '2,0902'" in log()
    # As in MMAction2: the whole image.
    info = [dataset.get_data_info(i) for i in range(7)]
    (one,) = [i for i in info if i['img_key'] == '2,0902']
    assert one['proposals'].tolist() == [[0, 0, 1, 1]]


def test_weak_proposals_are_counted(people, log):
    build(people, person_det_score_thr=0.95)
    assert '7 of 7 frames have no proposal of confidence 0.95' in log()


@pytest.mark.parametrize('media', ['videos', 'frames'])
def test_missing_media(paths, media, log):
    name = Path(paths[media]) / ('1.mp4' if media == 'videos' else '1')
    os.rename(name, name.with_name('elsewhere'))
    with pytest.raises(VideoError, match="1 of 3 .*: '1'.*Testing needs"):
        build(paths, media)
    build(paths, media, test_mode=False)
    assert '1 of 3' in log() and "'1'; they are replaced" in log()
    with pytest.raises(VideoError, match='3 of 3 .*The folder has: nothing'):
        build(dict(paths, **{media: paths[media] + '/deeper'}), media)


def test_missing_video_is_replaced_in_training(paths):
    os.remove(Path(paths['videos']) / '1.mp4')
    dataset = build(paths, test_mode=False)
    index = next(i for i in range(7) if dataset.get_data_info(i)['video_id'] == '1')
    sample = dataset[index]['data_samples']
    assert sample.video_id != '1'
    ((path, reason), *_) = sample.unreadable
    assert path.endswith('videos/1') and 'no such file' in reason


@pytest.mark.parametrize(
    'media, text', [('videos', 'which lasts 4.0 s'), ('frames', r'there is no .*\.jpg')]
)
def test_times_that_no_video_has(paths, media, text):
    with pytest.raises(VideoError, match=f'3 of 3 videos.*\n.*{text}'):
        build(paths, media, timestamp_start=890)


def test_times_that_one_folder_lacks(paths, log):
    last = Path(paths['frames']) / '2' / 'img_00031.jpg'
    last.unlink()
    build(paths, 'frames')
    assert '1 of 3 videos' in log() and str(last) in log()


def test_timestamps_out_of_range(people):
    with pytest.raises(VideoError, match="2 of 7 frames.*'0,0903', '2,0903'"):
        build(people, timestamp_end=902)


def test_everything_excluded(paths):
    Path(paths['exclude_file']).write_text(
        ''.join(f'{video},{time}\n' for video in range(3) for time in made.TIMES)
    )
    with pytest.raises(VideoError, match='all 9 frames'):
        build(paths)


def test_labels_that_are_not_in_the_label_map(paths, log):
    edit(paths['label_file'], lambda text: text.replace('id: 2', 'id: 9'))
    build(paths)
    assert 'labels 2 of' in log()
    edit(paths['label_file'], lambda text: text.replace('id: ', 'id: 1'))
    with pytest.raises(VideoError, match='none of the labels'):
        build(paths)


def test_label_map_without_indent(paths):
    edit(paths['label_file'], lambda text: text.replace('  ', ''))
    with pytest.raises(VideoError, match='indented by two spaces'):
        read_label_map(paths['label_file'])


# Files that are wrong.


@pytest.mark.parametrize(
    'line, problem',
    [
        ('0,901,.1,.1,.2,.2,1', '7 fields instead of 8'),
        ('0,901,,,,,,', 'it has no box'),
        ('0,9x1,.1,.1,.2,.2,1,0', "timestamp is not a whole number: '9x1'"),
        ('0,901,.1,.1,.2,b,1,0', "y2 is not a number: 'b'"),
        ('0,901,10,10,20,20,1,0', 'not pixels'),
        ('0,901,.3,.1,.2,.2,1,0', 'x1 <= x2'),
        ('0,901,.1,.1,.2,.2,4,0', 'below num_classes=4'),
        ('0,901,.1,.1,.2,.2,0,0', 'at least 1'),
        ('', '1 fields'),
    ],
)
def test_wrong_lines_are_named(paths, line, problem):
    edit(paths['ann_file'], lambda text: text + line + '\n')
    with pytest.raises(VideoError, match='1 of 19 lines') as error:
        build(paths)
    assert 'line 19: ' in str(error.value) and problem in str(error.value)
    assert line in str(error.value)


def test_empty_annotations(paths):
    Path(paths['ann_file']).write_text('')
    with pytest.raises(VideoError, match='is empty'):
        build(paths)


def test_wrong_exclusions(paths):
    assert read_exclusions(None) == set()
    assert read_exclusions(paths['exclude_file']) == {'0,0902', '1,0903'}
    edit(paths['exclude_file'], lambda text: text + '1;902\n')
    with pytest.raises(VideoError, match='line 3'):
        read_exclusions(paths['exclude_file'])


@pytest.mark.parametrize(
    'content, problem',
    [
        ([1, 2], 'it holds a list'),
        ({}, 'it holds a dict'),
        ({'a,0901': np.zeros((2, 3))}, r"'a,0901': .*shape \(2, 3\)"),
        ({'a,0901': np.full((1, 4), np.nan)}, 'finite'),
        ({'a,0901': np.array([[10.0, 20, 40, 50]])}, 'not pixels'),
        ({'a,0901': np.array([[0.5, 0.5, 0.2, 0.2, 1]])}, 'x1 > x2'),
    ],
)
def test_wrong_proposals_are_named(tmp_path, content, problem):
    path = tmp_path / 'boxes.pkl'
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(VideoError, match=problem):
        read_proposals(str(path))


class RunsCode:
    def __reduce__(self):
        return os.mkdir, ('ran',)


def test_proposals_run_no_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path('boxes.pkl').write_bytes(pickle.dumps({'a,0901': RunsCode()}))
    with pytest.raises(VideoError, match='mkdir'):
        read_proposals('boxes.pkl')
    assert not Path('ran').exists()


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_proposals_of_any_protocol(tmp_path, protocol):
    boxes = {
        'a,0901': np.random.default_rng(0).random((3, 4)) / 2 + np.array([0, 0, 0.5, 0.5]),
        'b,0901': np.zeros((0, 5)),
        'c,0902': np.array([[-0.005, 0, 1.005, 1, 0.9]], np.float32),
    }
    path = tmp_path / 'boxes.pkl'
    path.write_bytes(pickle.dumps(boxes, protocol=protocol))
    found = read_proposals(str(path))
    assert set(found) == {'a,0901', 'c,0902'}
    assert type(found['a,0901']) is np.ndarray
    np.testing.assert_array_equal(found['a,0901'], boxes['a,0901'])
    np.testing.assert_allclose(found['c,0902'], [[0, 0, 1, 1, 0.9]])
