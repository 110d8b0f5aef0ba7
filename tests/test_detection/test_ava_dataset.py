"""AVA-style datasets: clips, boxes, and the checks that files match."""

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from amd_mm.datasets.ava import CheckedAVAMixin
from amd_mm.datasets.ava_files import read_proposals, scan_annotations, write_proposals
from amd_mm.errors import VideoError
from amd_mm.registry import DATASETS, METRICS
from mmengine.logging import MMLogger

from ..conftest import real_data_folder
from . import people as made

SAMPLE = dict(type='amd_mm.SampleAVAClip', clip_len=8, frame_interval=1, test_mode=True)
DECODE = dict(
    videos=[dict(type='amd_mm.VideoInit'), SAMPLE, dict(type='amd_mm.VideoDecode')],
    frames=[SAMPLE, dict(type='amd_mm.CheckedRawFrameDecode')],
)
FORMAT = [
    dict(type='mmaction.FormatShape', input_format='NCTHW', collapse=True),
    dict(type='mmaction.PackActionInputs'),
]
both_media = pytest.mark.parametrize('media', ['videos', 'frames'])


@pytest.fixture
def paths(people, tmp_path):
    """A copy of the people that a test may change."""
    folder = tmp_path / 'copy'
    shutil.copytree(Path(people['ann_file']).parent, folder)
    return {name: str(folder / Path(path).name) for name, path in people.items()}


@pytest.fixture
def log(tmp_path, request):
    """The text of the log, as a function."""
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


def infos(dataset):
    return [dataset.get_data_info(index) for index in range(len(dataset))]


def test_files_of_windows(people, paths):
    """All text files may have a byte order mark, Windows' line ends and blank lines."""
    for name in ('ann_file', 'exclude_file', 'label_file'):
        text = Path(paths[name]).read_text().replace('\n', ' \r\n\r\n')
        Path(paths[name]).write_text('\ufeff' + text, encoding='utf-8', newline='')
    assert str(infos(build(paths, data_prefix=dict(video=people['videos'])))) == str(
        infos(build(people))
    )
    metrics = [
        METRICS.build(
            dict(
                type='amd_mm.PerClassAVAMetric',
                num_classes=4,
                **{name: files[name] for name in ('ann_file', 'exclude_file', 'label_file')},
            )
        )
        for files in (people, paths)
    ]
    assert str(metrics[0].annotated) == str(metrics[1].annotated)


def edit(path, change):
    Path(path).write_text(change(Path(path).read_text()))


def edit_proposals(path, change):
    write_proposals(path, change(read_proposals(path)))


def test_frames_boxes_and_proposals(people, log):
    dataset = build(people)
    # Three times in each of three videos, but two frames are excluded.
    assert len(dataset) == 7
    packed = dataset[0]
    assert packed['inputs'].shape == (3, 8, made.HEIGHT, made.WIDTH)
    sample = packed['data_samples']
    assert (sample.video_id, sample.timestamp) == ('0', 901)
    boxes, labels = sample.gt_instances.bboxes, sample.gt_instances.labels
    # The box of confidence 0.3 is not among them.
    assert sample.proposals.bboxes.shape == (2, 4)
    assert labels.sum(1).tolist() == [1, 1] and labels.shape == (2, 4)
    torch.testing.assert_close(sample.proposals.bboxes, boxes.float(), atol=1.0, rtol=0)
    assert boxes.max() > 10  # pixels
    assert '3 videos (3 found' in log() and '7 frames' in log()
    assert 'WARNING' not in log()
    assert len(build(people, exclude_file=None)) == 9


def test_videos_and_frames_are_the_same_clips(people):
    """The clip is centred on the timestamp."""
    packed, other = (build(people, media)[3] for media in ('videos', 'frames'))
    clips = [one['inputs'].float() for one in (packed, other)]
    assert (clips[0] - clips[1]).abs().mean() < 6  # compressed differently
    box = packed['data_samples'].gt_instances.bboxes[0].round().int()
    x1, y1, x2, y2 = (int(v) for v in box)
    body = clips[1][:, 4, (y1 + y2) // 2 + 2 : y2 - 2, x1 + 2 : x2 - 2]
    assert body.mean() > 150  # the background is below 90


def test_other_options(people):
    pipeline = [dict(type='amd_mm.GroundTruthProposals')] + DECODE['videos'] + FORMAT
    names = {name: os.path.basename(path) for name, path in people.items()}
    dataset = build(
        dict(names, proposal_file=None),
        data_root=os.path.dirname(people['ann_file']),
        pipeline=pipeline,
        test_mode=False,
        custom_classes=[2, 3],
        num_classes=3,
    )
    assert len(dataset) == 5  # two frames have other actions only
    sample = dataset[1]['data_samples']
    assert torch.equal(sample.proposals.bboxes, sample.gt_instances.bboxes)
    assert sample.gt_instances.labels.shape == (2, 3)
    with pytest.raises(TypeError, match='no_such_argument'):
        build(people, no_such_argument=1)
    with pytest.raises(ValueError, match='either'):
        build(people, data_prefix=dict(img='a', video='b'))


def test_kinetics(paths):
    """The name of a clip has its seconds; the key of its proposals has not."""
    name = 'kkkkkkkkkkk_000903_000907'
    os.rename(Path(paths['frames']) / '2', Path(paths['frames']) / name)

    def rename(text):
        lines = text.replace('2,090', f'{name},090').splitlines(True)
        return ''.join(li for li in lines if not li.startswith(name) or ',0903,' in li)

    edit(paths['ann_file'], rename)
    edit_proposals(
        paths['proposal_file'],
        lambda old: {key.replace('2,0', 'kkkkkkkkkkk,0'): value for key, value in old.items()},
    )
    dataset = build(
        paths, 'frames', type='amd_mm.CheckedAVAKineticsDataset', timestamp_start=made.START
    )
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
    annotations = scan_annotations(str(folder / 'ava_sample.csv'), 81)
    annotations.check()
    assert annotations.timestamps == {'0f39OWEqJ24': {902, 903}, '_-Z6wFjXtGQ': {902}}
    for video in annotations.timestamps:
        (tmp_path / video).mkdir()
        for time in (2, 3):
            (tmp_path / video / f'img_{30 * time + 1:05}.jpg').touch()
    dataset = build(
        dict(frames=str(tmp_path)),
        'frames',
        ann_file=str(folder / 'ava_sample.csv'),
        exclude_file=str(folder / 'ava_excluded_timestamps_sample.csv'),
        label_file=str(folder / 'action_list.txt'),
        proposal_file=str(folder / 'ava_proposals_sample.pkl'),
        num_classes=81,
        fps=30,
    )
    info = dataset.get_data_info(0)
    assert len(dataset) == 1 and info['img_key'] == '0f39OWEqJ24,0902'
    assert info['gt_labels'].nonzero()[1].tolist() == [12, 17, 79]
    np.testing.assert_allclose(info['proposals'], [[0.011, 0.157, 0.655, 0.983]])
    assert 'labels 74 ' in log()


# Files that do not match.


def test_proposals(paths, log):
    build(paths, person_det_score_thr=0.95)
    assert '7 of 7 frames have no proposal of confidence 0.95' in log()
    edit_proposals(
        paths['proposal_file'],
        lambda old: {k: v for k, v in old.items() if k not in ('1,0901', '2,0902')},
    )
    dataset = build(paths)
    assert '2 of 7 frames' in log() and "'1,0901', '2,0902'" in log()
    # As in MMAction2, the box is the whole image.
    (info,) = [info for info in infos(dataset) if info['img_key'] == '2,0902']
    assert info['proposals'].tolist() == [[0, 0, 1, 1]]
    edit_proposals(
        paths['proposal_file'], lambda old: {key.replace(',0', ','): v for key, v in old.items()}
    )
    assert str(infos(build(paths))) == str(infos(dataset))  # 901 is 0901
    edit_proposals(paths['proposal_file'], lambda old: {f'v{key}': v for key, v in old.items()})
    with pytest.raises(VideoError, match="'0,0901'.*'v0,0901'"):
        build(paths)


@both_media
def test_missing_media(paths, media, log):
    name = Path(paths[media]) / ('1.mp4' if media == 'videos' else '1')
    os.rename(name, name.with_name('elsewhere'))
    with pytest.raises(VideoError, match="1 of 3 .*: '1'.*Testing needs"):
        build(paths, media)
    dataset = build(paths, media, test_mode=False)
    assert '1 of 3' in log() and "'1'; they are replaced" in log()
    index = next(i for i, info in enumerate(infos(dataset)) if info['video_id'] == '1')
    sample = dataset[index]['data_samples']
    assert sample.video_id != '1'
    assert sample.unreadable[0][0].endswith(f'{media}/1')
    with pytest.raises(VideoError, match='3 of 3 .*The folder has: nothing'):
        build(dict(paths, **{media: paths[media] + '/deeper'}), media)


@pytest.mark.parametrize(
    'media, message', [('videos', 'which lasts 4.0 s'), ('frames', r'there is no .*\.jpg')]
)
def test_times_that_no_video_has(people, media, message):
    with pytest.raises(VideoError, match=f'3 of 3 videos.*\n.*{message}'):
        build(people, media, timestamp_start=890)


@pytest.mark.parametrize('media', ['videos', 'frames'])
def test_own_videos_begin_at_0(people, paths, media, log):
    """Times that AVA does not have are seconds from the beginning."""
    for name in ('ann_file', 'exclude_file'):
        edit(paths[name], lambda text: re.sub(r',0?90(?=\d)', ',000', text))
    edit_proposals(
        paths['proposal_file'],
        lambda boxes: {key.replace(',090', ',000'): one for key, one in boxes.items()},
    )
    own, original = build(paths, media), build(people, media)
    assert 'has the times 1 to 3' in log()
    for index in range(len(original)):
        one, other = own[index], original[index]
        assert torch.equal(one['inputs'], other['inputs'])
        assert one['data_samples'].timestamp == other['data_samples'].timestamp - made.START


def test_videos_that_are_not_cut(people, monkeypatch):
    """In a long video AVA's times are seconds from the beginning, too."""
    monkeypatch.setattr(CheckedAVAMixin, '_first_duration', lambda self, media: 2000)
    with pytest.raises(VideoError, match='903 s into'):
        build(people)


def test_frames_from_0(paths):
    for folder in Path(paths['frames']).iterdir():
        (folder / 'img_00000.jpg').write_bytes(b'')
    with pytest.raises(VideoError, match='00000.jpg is there: set start_index=0 instead of 1'):
        build(paths, 'frames')
    build(paths, 'frames', start_index=0)


def test_times(paths, log):
    last = Path(paths['frames']) / '2' / 'img_00031.jpg'
    last.unlink()
    build(paths, 'frames')
    assert '1 of 3 videos' in log() and str(last) in log()
    with pytest.raises(VideoError, match="2 of 7 frames.*'0,0903', '2,0903'"):
        build(paths, timestamp_end=902)


def test_nothing_is_left(paths, log):
    edit(paths['label_file'], lambda text: text.replace('id: 2', 'id: 9'))
    with pytest.raises(VideoError, match='has the label 9, but num_classes=4'):
        build(paths)
    build(paths, num_classes=10)
    assert 'labels 2 of' in log()
    edit(paths['label_file'], lambda text: text.replace('id: ', 'id: 1'))
    with pytest.raises(VideoError, match='none of the labels'):
        build(paths, num_classes=20)
    frames = (f'{video},{time}\n' for video in range(3) for time in made.TIMES)
    Path(paths['exclude_file']).write_text(''.join(frames))
    with pytest.raises(VideoError, match='all 9 frames'):
        build(dict(paths, label_file=None))
