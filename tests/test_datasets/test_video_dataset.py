"""Lists, frame folders and bare folders; replacement of unreadable videos; real loaders."""

import os
import re
import resource
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from amd_mm.datasets import (
    RawFrameListDataset,
    SampleKey,
    UnreadableVideoError,
    VideoFolderDataset,
    VideoListDataset,
    find_videos,
)
from amd_mm.errors import VideoError
from mmengine.logging import MMLogger
from mmengine.runner import Runner

from .pipelines import SAMPLE, crop_and_pack, video_pipeline

NO_PIPELINE = [lambda results: results]


def names(dataset):
    return [Path(dataset.get_data_info(i)['filename']).name for i in range(len(dataset))]


def write_list(folder, lines):
    path = Path(folder) / 'list.txt'
    path.write_text(''.join(line + '\n' for line in lines))
    return str(path)


def touch(folder, *files):
    for name in files:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()


def test_folder(tiny_video_folder):
    root = str(tiny_video_folder)
    dataset = VideoFolderDataset(root, NO_PIPELINE)
    assert names(dataset) == ['a.mp4', 'b.mp4', 'c.mp4', 'd clip 1.mp4', 'e.avi', 'f.MP4']
    assert dataset.get_data_info(3)['label'] == -1
    assert names(VideoFolderDataset(root, NO_PIPELINE, recursive=False)) == ['a.mp4', 'b.mp4']
    below = VideoFolderDataset(
        root, NO_PIPELINE, extensions=('AVI',), data_prefix=dict(video='more')
    )
    assert names(below) == ['e.avi']


def test_hidden_files_and_links(tmp_path):
    touch(tmp_path, 'x/a.mp4', 'x/._a.mp4', '.trash/b.mp4', 'far/c.mp4')
    os.symlink(tmp_path / 'far', tmp_path / 'x' / 'link')
    os.symlink(tmp_path, tmp_path / 'x' / 'loop')
    # Each folder once, under the first of its names; the loop ends.
    assert find_videos(str(tmp_path / 'x')) == ['a.mp4', 'link/c.mp4']


def test_folders_that_cannot_be_read(tmp_path, monkeypatch, capsys):
    touch(tmp_path, 'a.mp4', 'locked/b.mp4', 'open/c.mp4')
    locked, scandir = [tmp_path / 'locked'], os.scandir

    def refuse(path):  # permissions do not stop root
        if Path(path) in locked:
            raise PermissionError(13, 'Permission denied', path)
        return scandir(path)

    monkeypatch.setattr(os, 'scandir', refuse)
    assert find_videos(str(tmp_path)) == ['a.mp4', 'open/c.mp4']
    assert f'skipped {locked[0]}' in capsys.readouterr().out
    locked.append(tmp_path)
    with pytest.raises(PermissionError, match=str(tmp_path)):
        find_videos(str(tmp_path))


def test_folders_without_videos(tmp_path):
    touch(tmp_path, 'notes.txt')
    for root, message in (
        (str(tmp_path), f'no videos in {tmp_path}.*webm.*list file'),
        (str(tmp_path / 'nowhere'), 'nowhere/? is not a folder'),
        ('', 'set data_root'),
    ):
        with pytest.raises(FileNotFoundError, match=message):
            VideoFolderDataset(root, NO_PIPELINE)


def test_list_of_videos(tmp_path, tiny_video_folder):
    write_list(tmp_path, ['a.mp4 3', 'more/deep/d clip 1.mp4 0'])
    dataset = VideoListDataset(
        'list.txt',
        video_pipeline(),
        data_root=str(tmp_path),
        data_prefix=dict(video=str(tiny_video_folder)),
        num_classes=4,
    )
    assert names(dataset) == ['a.mp4', 'd clip 1.mp4']
    assert dataset[0]['data_samples'].gt_label.item() == 3
    sample = dataset[1]['data_samples']
    assert sample.filename == str(tiny_video_folder / 'more/deep/d clip 1.mp4')
    assert (sample.sample_index, sample.epoch, sample.view) == (1, -1, 0)
    assert sample.unreadable == []


def test_labels_of_a_list(tmp_path):
    bare = VideoListDataset(write_list(tmp_path, ['a.mp4', 'b c.mp4']), NO_PIPELINE)
    assert [bare.get_data_info(i)['label'] for i in (0, 1)] == [-1, -1]
    options = dict(pipeline=NO_PIPELINE, delimiter=',', num_classes=4)
    many = VideoListDataset(write_list(tmp_path, ['a.mp4,0,2']), multi_class=True, **options)
    assert many.get_data_info(0)['label'].tolist() == [1, 0, 1, 0]
    with pytest.raises(ValueError, match='needs num_classes'):
        VideoListDataset('x', NO_PIPELINE, multi_class=True)
    with pytest.raises(VideoError, match='list.txt, line 1'):
        VideoListDataset(write_list(tmp_path, ['a.mp4,9']), **options)


def test_names_of_classes(tmp_path):
    (tmp_path / 'labels.txt').write_text('cat\nbig dog\n')
    listed = write_list(tmp_path, ['a.mp4 big dog', 'b.mp4 0'])
    options = dict(pipeline=NO_PIPELINE, data_root=str(tmp_path), classes='labels.txt')
    dataset = VideoListDataset('list.txt', **options)
    assert [dataset.get_data_info(i)['label'] for i in (0, 1)] == [1, 0]
    assert dataset.metainfo['classes'] == ('cat', 'big dog')
    same = VideoListDataset(listed, NO_PIPELINE, classes=['cat', 'big dog'])
    assert same.get_data_info(0)['label'] == 1 and same.num_classes == 2
    with pytest.raises(VideoError, match='line 1: the label 9 is not below num_classes=2'):
        write_list(tmp_path, ['a.mp4 9'])
        VideoListDataset('list.txt', **options)


@pytest.fixture
def frame_list(tmp_path):
    for clip, brightness in (('clip one', 0), ('clip 2', 100), ('c3', 200)):
        folder = tmp_path / 'frames' / clip
        folder.mkdir(parents=True)
        for number in range(1, 21):
            image = np.full((48, 64, 3), brightness + number, np.uint8)
            cv2.imwrite(str(folder / f'img_{number:05}.jpg'), image)
    return write_list(tmp_path, ['clip one\t20\t0', 'clip 2\t20\t1', 'c3\t20\t2'])


def raw_frames(frame_list, num_views=0, **options):
    pipeline = [SAMPLE, dict(type='amd_mm.CheckedRawFrameDecode')] + crop_and_pack(num_views)
    prefix = dict(img=str(Path(frame_list).parent / 'frames'))
    return RawFrameListDataset(frame_list, pipeline, data_prefix=prefix, delimiter='\t', **options)


def test_raw_frames(frame_list, tmp_path):
    views = raw_frames(frame_list, num_views=3)[1]
    assert len(views) == 3
    for number, view in enumerate(views):
        sample = view['data_samples']
        assert view['inputs'].shape == (1, 3, 8, 32, 32)
        assert 100 < view['inputs'].float().mean() < 122
        assert sample.gt_label.item() == 1 and sample.view == number
        assert sample.filename.endswith('frames/clip 2')
    write_list(tmp_path, ['c3\t12\t8\t2'])
    assert raw_frames(frame_list, with_offset=True)[0]['inputs'].min() >= 210  # frame 13 on


@pytest.mark.parametrize(
    'name, says, settings',
    [
        ('img_{:05}.jpg', 'begin with number 0, not start_index=1', dict(start_index=0)),
        (
            'frame-{:03}.png',
            "set filename_tmpl='frame-{:03}.png' and start_index=0",
            dict(filename_tmpl='frame-{:03}.png', start_index=0),
        ),
    ],
)
def test_raw_frames_that_begin_elsewhere(frame_list, name, says, settings):
    """One look at a folder, instead of clips that are a frame late."""
    for folder in Path(frame_list).parent.glob('frames/*'):
        for number, path in enumerate(sorted(folder.iterdir())):
            path.rename(folder / name.format(number))
    with pytest.raises(VideoError, match=re.escape(says)):
        raw_frames(frame_list)
    assert len(raw_frames(frame_list, **settings)) == 3
    (folder / name.format(0)).unlink()  # one damaged folder is not their fault
    assert len(raw_frames(frame_list, **settings)) == 3


def test_unreadable_raw_frames(frame_list):
    folder = Path(frame_list).parent / 'frames' / 'clip 2'
    for path in folder.iterdir():
        path.write_bytes(b'')
    sample = raw_frames(frame_list)[1]['data_samples']
    assert sample.sample_index in (0, 2)
    assert [path for path, _ in sample.unreadable] == [str(folder)]


@pytest.fixture(scope='module')
def half_broken(tmp_path_factory, make_video):
    """Four bad videos, then four good ones."""
    folder = tmp_path_factory.mktemp('half_broken')
    for seed in range(4):
        make_video(folder / f'good{seed}.mp4', frames=20, seed=seed)
    good = (folder / 'good0.mp4').read_bytes()
    (folder / 'bad0.mp4').write_bytes(b'')
    (folder / 'bad1.mp4').write_bytes(good[: len(good) // 2])
    (folder / 'bad2.mp4').write_text('text')
    make_video(folder / 'bad3.mp4', frames=5)
    return folder


def test_replacement_is_reproducible(half_broken):
    dataset = VideoFolderDataset(str(half_broken), video_pipeline(2, min_frames=15))
    chosen, reasons = set(), {}
    for index in range(4):
        for epoch in range(3):
            key = SampleKey(index, epoch, seed=1)
            views, again = dataset[key], dataset[key]
            first = views[0]['data_samples']
            assert first.sample_index >= 4 and first.epoch == epoch
            assert 1 <= len(first.unreadable) <= 4
            assert first.unreadable[0][0].endswith(f'bad{index}.mp4')
            for a, b in zip(views, again):
                assert torch.equal(a['inputs'], b['inputs'])
                assert a['data_samples'].unreadable == first.unreadable
            chosen.add(first.sample_index)
            reasons.update({Path(path).name: reason for path, reason in first.unreadable})
    assert len(chosen) > 1  # not always the same one
    assert 'empty' in reasons['bad0.mp4']
    assert '5 frames, fewer than min_frames=15' in reasons['bad3.mp4']


def test_testing_never_replaces(half_broken):
    dataset = VideoFolderDataset(str(half_broken), video_pipeline(), test_mode=True)
    with pytest.raises(UnreadableVideoError, match='bad0.mp4.*empty.*check_videos.py'):
        dataset[0]


def test_too_many_replacements(tmp_path):
    touch(tmp_path, *(f'bad{number}.mp4' for number in range(8)))
    few = VideoFolderDataset(str(tmp_path), video_pipeline(), max_refetch=2)
    with pytest.raises(VideoError, match='^3 samples in a row') as error:
        few[SampleKey(0, 0, 0)]
    assert 'bad0.mp4' in str(error.value) and 'tools/check_videos.py' in str(error.value)
    # Fewer samples than tries: each is tried once.
    with pytest.raises(VideoError, match='8 samples in a row'):
        VideoFolderDataset(str(tmp_path), video_pipeline())[0]


def test_mistakes_in_the_pipeline_are_not_hidden(tiny_video_folder, capsys):
    MMLogger.get_instance('amd_mm')  # with stdout of this test
    readers = []

    def wrong(results):
        readers.append(results['video_reader'])
        raise KeyError('imgs')

    dataset = VideoFolderDataset(str(tiny_video_folder), [dict(type='amd_mm.VideoInit'), wrong])
    with pytest.raises(KeyError, match='imgs'):
        dataset[0]
    assert "a.mp4: KeyError: 'imgs'" in capsys.readouterr().out
    assert readers[0]._container is None  # closed
    with pytest.raises(IndexError):
        dataset[6]


def test_transforms_of_other_packages_may_refuse_a_sample(tiny_video_folder):
    def refuse(results):
        name = Path(results['filename']).name
        if name == 'b.mp4':
            raise FileNotFoundError(2, 'No such file', 'sound of b')
        if name == 'c.mp4':
            cv2.resize(np.zeros((0, 4), np.uint8), (2, 2))
        return None if name == 'a.mp4' else results

    dataset = VideoFolderDataset(str(tiny_video_folder), [refuse] + video_pipeline())
    for index, reason in enumerate(('None', 'sound of b', 'OpenCV')):
        sample = dataset[index]['data_samples']
        assert sample.sample_index > 2 and reason in sample.unreadable[0][1]


@pytest.mark.parametrize('decoder, package', [('Decord', 'decord'), ('PyAV', 'av')])
def test_errors_of_stock_decoders(half_broken, decoder, package):
    pytest.importorskip(package)
    pipeline = video_pipeline(2)
    pipeline[0] = dict(type=f'mmaction.{decoder}Init')
    pipeline[2] = dict(type=f'mmaction.{decoder}Decode')
    views = VideoFolderDataset(str(half_broken), pipeline)[2]
    assert views[0]['inputs'].shape == (1, 3, 8, 32, 32)
    assert 'bad2.mp4' in views[0]['data_samples'].unreadable[0][0]


def test_names_that_are_not_utf8(tmp_path, make_video, name_not_utf8):
    make_video(tmp_path / 'good.mp4', frames=20)
    (tmp_path / name_not_utf8).touch()
    dataset = VideoFolderDataset(str(tmp_path), video_pipeline())
    index = next(i for i in range(2) if 'caf' in dataset.get_data_info(i)['filename'])
    ((path, _),) = dataset[index]['data_samples'].unreadable
    assert os.fsencode(path).endswith(b'caf\xe9.mp4')


def test_limit_of_open_files_is_raised(tiny_video_folder):
    """At 256, workers' tensors end in "received 0 items of ancdata"."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        VideoFolderDataset(str(tiny_video_folder), NO_PIPELINE)
        raised, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    expected = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
    assert raised == max(expected, 256)


def build_loader(dataset, num_workers):
    return Runner.build_dataloader(
        dict(
            batch_size=3,
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            dataset=dataset,
            sampler=dict(type='amd_mm.EpochSeededSampler'),
            collate_fn=dict(type='amd_mm.flatten_views_collate'),
        ),
        seed=5,
    )


def content(loader, epochs):
    """The clips of an epoch, by (epoch, file, view, number of replacements)."""
    rows = {}
    for epoch in epochs:
        loader.sampler.set_epoch(epoch)
        for batch in loader:
            for clip, sample in zip(batch['inputs'], batch['data_samples']):
                assert clip.dtype == torch.uint8
                key = (sample.epoch, sample.filename, sample.view, len(sample.unreadable))
                rows.setdefault(key, []).append(clip.numpy().tobytes())
    return {key: sorted(value) for key, value in rows.items()}


def test_an_epoch_does_not_depend_on_workers_or_processes(half_broken, monkeypatch):
    config = dict(
        type='amd_mm.VideoFolderDataset',
        data_root=str(half_broken),
        pipeline=video_pipeline(3, min_frames=15),
    )
    alone = content(build_loader(config, 0), [0, 1])
    assert sum(map(len, alone.values())) == 2 * 8 * 3
    assert content(build_loader(config, 2), [0, 1]) == alone
    together = {}
    for rank in range(2):
        monkeypatch.setattr('mmengine.dataset.sampler.get_dist_info', lambda: (rank, 2))
        for key, clips in content(build_loader(config, 0), [0, 1]).items():
            together[key] = sorted(together.get(key, []) + clips)
    assert together == alone


def test_stock_dataset_with_repeated_views(tmp_path, tiny_video_folder):
    config = dict(
        type='mmaction.VideoDataset',
        ann_file=write_list(tmp_path, ['a.mp4 1', 'b.mp4 0']),
        data_prefix=dict(video=str(tiny_video_folder)),
        pipeline=video_pipeline(4),
    )
    (batch,) = build_loader(config, 0)
    labels = [sample.gt_label.item() for sample in batch['data_samples']]
    assert sorted(labels) == [0] * 4 + [1] * 4 and labels[0] == labels[3]
    assert [s.view for s in batch['data_samples']] == [0, 1, 2, 3] * 2
