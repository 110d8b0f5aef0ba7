"""Lists, frame folders and bare folders; unreadable videos; real loaders."""

import os
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
from amd_mm.registry import DATASETS
from mmengine.runner import Runner

from .pipelines import frame_pipeline, video_pipeline

FRAMES_ONLY = [lambda results: results]


def names(dataset):
    return [Path(dataset.get_data_info(i)['filename']).name for i in range(len(dataset))]


# -- bare folders -----------------------------------------------------------


def test_a_folder_is_searched_and_sorted(tiny_video_folder):
    dataset = VideoFolderDataset(str(tiny_video_folder), FRAMES_ONLY)
    assert names(dataset) == ['a.mp4', 'b.mp4', 'c.mp4', 'd clip 1.mp4', 'e.avi', 'f.MP4']
    assert dataset.get_data_info(3)['label'] == -1
    flat = VideoFolderDataset(str(tiny_video_folder), FRAMES_ONLY, recursive=False)
    assert names(flat) == ['a.mp4', 'b.mp4']
    below = VideoFolderDataset(
        str(tiny_video_folder), FRAMES_ONLY, extensions=('AVI',), data_prefix=dict(video='more')
    )
    assert names(below) == ['e.avi']
    few = VideoFolderDataset(str(tiny_video_folder), FRAMES_ONLY, indices=2)
    assert names(few) == ['a.mp4', 'b.mp4']


def test_hidden_files_and_links(tmp_path):
    for name in ('x/a.mp4', 'x/._a.mp4', '.trash/b.mp4', 'far/c.mp4'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    os.symlink(tmp_path / 'far', tmp_path / 'x' / 'link')
    os.symlink(tmp_path, tmp_path / 'x' / 'loop')
    # Each folder once, under the first of its names; the loop ends.
    assert find_videos(str(tmp_path / 'x')) == ['a.mp4', 'link/c.mp4']


def test_folders_that_cannot_be_read(tmp_path, monkeypatch, capsys):
    for name in ('a.mp4', 'locked/b.mp4', 'open/c.mp4'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    locked, scandir = [tmp_path / 'locked'], os.scandir

    def refuse(path):  # permissions do not stop root
        if Path(path) in locked:
            raise PermissionError(13, 'Permission denied', path)
        return scandir(path)

    monkeypatch.setattr(os, 'scandir', refuse)
    assert find_videos(str(tmp_path)) == ['a.mp4', 'open/c.mp4']
    assert (
        f'skipped {locked[0]}, which cannot be read: Permission denied' in capsys.readouterr().out
    )
    locked.append(tmp_path)
    with pytest.raises(PermissionError, match=str(tmp_path)):
        find_videos(str(tmp_path))


def test_folders_without_videos(tmp_path):
    (tmp_path / 'notes.txt').touch()
    with pytest.raises(FileNotFoundError) as error:
        VideoFolderDataset(str(tmp_path), FRAMES_ONLY)
    assert str(tmp_path) in str(error.value) and '.webm' in str(error.value)
    with pytest.raises(FileNotFoundError, match='nowhere/? is not a folder'):
        VideoFolderDataset(str(tmp_path / 'nowhere'), FRAMES_ONLY)
    with pytest.raises(FileNotFoundError, match='set data_root'):
        VideoFolderDataset('', FRAMES_ONLY)


# -- list files -------------------------------------------------------------


def write_list(folder, lines):
    path = Path(folder) / 'list.txt'
    path.write_text(''.join(line + '\n' for line in lines))
    return str(path)


def test_a_list_of_videos(tmp_path, tiny_video_folder):
    ann_file = write_list(tmp_path, ['a.mp4 3', 'more/deep/d clip 1.mp4 0'])
    dataset = VideoListDataset(
        ann_file, video_pipeline(), data_prefix=dict(video=str(tiny_video_folder)), num_classes=4
    )
    assert names(dataset) == ['a.mp4', 'd clip 1.mp4']
    assert dataset[0]['data_samples'].gt_label.item() == 3
    sample = dataset[1]['data_samples']
    assert sample.filename.endswith('more/deep/d clip 1.mp4')
    assert (sample.sample_index, sample.epoch, sample.view) == (1, -1, 0)
    assert sample.unreadable == []


def test_lists_without_labels_and_with_several(tmp_path):
    bare = VideoListDataset(write_list(tmp_path, ['a.mp4', 'b c.mp4']), FRAMES_ONLY)
    assert [bare.get_data_info(i)['label'] for i in (0, 1)] == [-1, -1]
    many = VideoListDataset(
        write_list(tmp_path, ['a.mp4,0,2']),
        FRAMES_ONLY,
        delimiter=',',
        multi_class=True,
        num_classes=4,
    )
    assert many.get_data_info(0)['label'].tolist() == [1, 0, 1, 0]
    with pytest.raises(ValueError, match='needs num_classes'):
        VideoListDataset('x', FRAMES_ONLY, multi_class=True)
    with pytest.raises(VideoError, match='list.txt, line 1'):
        VideoListDataset(write_list(tmp_path, ['a.mp4 9']), FRAMES_ONLY, num_classes=4)


def test_relative_paths_start_from_data_root(tmp_path):
    write_list(tmp_path, ['a.mp4'])
    dataset = VideoListDataset(
        'list.txt', FRAMES_ONLY, data_root=str(tmp_path), data_prefix=dict(video='videos')
    )
    expected = str(tmp_path / 'videos' / 'a.mp4')
    assert dataset.get_data_info(0)['filename'] == expected


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
    prefix = dict(img=str(Path(frame_list).parent / 'frames'))
    return RawFrameListDataset(
        frame_list, frame_pipeline(num_views), data_prefix=prefix, delimiter='\t', **options
    )


def test_raw_frames(frame_list):
    dataset = raw_frames(frame_list, num_views=3)
    views = dataset[1]
    assert len(views) == 3
    for number, view in enumerate(views):
        sample = view['data_samples']
        assert view['inputs'].shape == (1, 3, 8, 32, 32)
        assert 100 < view['inputs'].float().mean() < 122
        assert sample.gt_label.item() == 1 and sample.view == number
        assert sample.filename.endswith('frames/clip 2')


def test_raw_frames_with_offset(frame_list, tmp_path):
    write_list(tmp_path, ['c3\t12\t8\t2'])
    dataset = raw_frames(frame_list, with_offset=True)
    assert dataset[0]['inputs'].min() >= 210  # frame 13 on


@pytest.mark.parametrize('damage', ['missing', 'corrupt', 'empty'])
def test_unreadable_raw_frames_are_replaced(frame_list, damage):
    folder = Path(frame_list).parent / 'frames' / 'clip 2'
    for path in folder.iterdir():
        path.unlink()
        if damage != 'missing':
            path.write_bytes(b'junk' if damage == 'corrupt' else b'')
    sample = raw_frames(frame_list)[1]['data_samples']
    assert sample.sample_index in (0, 2)
    assert [path for path, _ in sample.unreadable] == [str(folder)]


# -- unreadable videos ------------------------------------------------------


@pytest.fixture
def half_broken(tmp_path, make_video):
    """Four good videos and four that are broken in different ways."""
    for seed in range(4):
        make_video(tmp_path / f'good{seed}.mp4', frames=20, seed=seed)
    good = (tmp_path / 'good0.mp4').read_bytes()
    (tmp_path / 'bad0.mp4').write_bytes(b'')
    (tmp_path / 'bad1.mp4').write_bytes(good[: len(good) // 2])
    (tmp_path / 'bad2.mp4').write_text('text')
    make_video(tmp_path / 'bad3.mp4', frames=5)
    return tmp_path


def test_a_replacement_is_drawn_reproducibly(half_broken):
    dataset = VideoFolderDataset(str(half_broken), video_pipeline(2, min_frames=15))
    chosen = {}
    for index in range(4):  # the broken ones come first
        for epoch in range(6):
            key = SampleKey(index, epoch, seed=1)
            views, again = dataset[key], dataset[key]
            first = views[0]['data_samples']
            assert first.sample_index >= 4 and first.epoch == epoch
            assert 1 <= len(first.unreadable) <= 4
            assert first.unreadable[0][0].endswith(f'bad{index}.mp4')
            for a, b in zip(views, again):
                assert torch.equal(a['inputs'], b['inputs'])
                assert a['data_samples'].unreadable == first.unreadable
            chosen[index, epoch] = first.sample_index
    assert len(set(chosen.values())) > 1  # not always the same one


def test_reasons_name_what_is_wrong(half_broken):
    dataset = VideoFolderDataset(str(half_broken), video_pipeline(min_frames=15))
    reasons = {}
    for index in range(4):
        for path, reason in dataset[index]['data_samples'].unreadable:
            reasons[Path(path).name] = reason
    assert 'empty' in reasons['bad0.mp4']
    assert '5 frames, fewer than min_frames=15' in reasons['bad3.mp4']
    assert reasons.keys() >= {'bad0.mp4', 'bad1.mp4', 'bad2.mp4', 'bad3.mp4'}


def test_giving_up_names_the_videos(half_broken):
    for number in range(4):
        (half_broken / f'good{number}.mp4').write_bytes(b'')
    pipeline = video_pipeline(min_frames=15)
    few = VideoFolderDataset(str(half_broken), pipeline, max_refetch=2)
    with pytest.raises(VideoError) as error:
        few[SampleKey(0, 0, 0)]
    assert str(error.value).startswith('3 samples in a row')
    assert 'bad0.mp4' in str(error.value)
    assert 'tools/check_videos.py' in str(error.value)
    # Fewer samples than tries: each is tried once.
    everything = VideoFolderDataset(str(half_broken), pipeline)
    with pytest.raises(VideoError, match='8 samples in a row'):
        everything[0]


def test_testing_never_replaces(half_broken):
    dataset = VideoFolderDataset(str(half_broken), video_pipeline(), test_mode=True)
    with pytest.raises(UnreadableVideoError, match='bad0.mp4.*empty'):
        dataset[0]


def test_a_mistake_in_the_pipeline_is_not_hidden(tiny_video_folder):

    def wrong(results):
        raise KeyError('imgs')

    dataset = VideoFolderDataset(str(tiny_video_folder), [wrong])
    with pytest.raises(KeyError, match='imgs'):
        dataset[0]
    with pytest.raises(IndexError):
        dataset[6]


def test_none_from_a_transform_means_another_sample(tiny_video_folder):

    def not_the_first(results):
        return None if results['filename'].endswith('a.mp4') else results

    dataset = VideoFolderDataset(str(tiny_video_folder), [not_the_first] + video_pipeline())
    sample = dataset[0]['data_samples']
    assert sample.sample_index != 0 and 'None' in sample.unreadable[0][1]


@pytest.mark.parametrize('decoder', ['Decord', 'PyAV'])
def test_stock_decoders_fail_the_same_way(half_broken, decoder):
    pytest.importorskip(dict(Decord='decord', PyAV='av')[decoder])
    pipeline = video_pipeline(2)
    pipeline[0] = dict(type=f'mmaction.{decoder}Init')
    pipeline[2] = dict(type=f'mmaction.{decoder}Decode')
    dataset = VideoFolderDataset(str(half_broken), pipeline)
    views = dataset[2]  # bad2.mp4 is text
    assert views[0]['inputs'].shape == (1, 3, 8, 32, 32)
    assert 'bad2.mp4' in views[0]['data_samples'].unreadable[0][0]


def test_readers_are_closed_when_sampling_fails(tiny_video_folder):
    readers = []

    def wrong(results):
        readers.append(results['video_reader'])
        raise KeyError('total_frames')

    dataset = VideoFolderDataset(str(tiny_video_folder), [dict(type='amd_mm.VideoInit'), wrong])
    with pytest.raises(KeyError):
        dataset[0]
    assert readers[0]._container is None


# -- real loaders -----------------------------------------------------------


def build_loader(dataset, num_workers, **sampler):
    return Runner.build_dataloader(
        dict(
            batch_size=3,
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            dataset=dataset,
            sampler=dict(type='amd_mm.EpochSeededSampler', **sampler),
            collate_fn=dict(type='amd_mm.flatten_views_collate'),
        ),
        seed=5,
    )


def content(loader, epochs):
    """What an epoch holds, by (epoch, file, view)."""
    rows = {}
    for epoch in epochs:
        loader.sampler.set_epoch(epoch)
        for batch in loader:
            for clip, sample in zip(batch['inputs'], batch['data_samples']):
                assert clip.dtype == torch.uint8
                key = (sample.epoch, sample.filename, sample.view, len(sample.unreadable))
                rows.setdefault(key, []).append(clip.numpy().tobytes())
    return {key: sorted(value) for key, value in rows.items()}


def folder_config(folder):
    return dict(
        type='amd_mm.VideoFolderDataset',
        data_root=str(folder),
        pipeline=video_pipeline(3, min_frames=15),
    )


def test_an_epoch_does_not_depend_on_workers_or_processes(half_broken, monkeypatch):
    config = folder_config(half_broken)
    alone = content(build_loader(config, 0), [0, 1])
    assert sum(map(len, alone.values())) == 2 * 8 * 3
    assert content(build_loader(config, 2), [0, 1]) == alone
    together = {}
    for rank in range(2):
        monkeypatch.setattr('mmengine.dataset.sampler.get_dist_info', lambda: (rank, 2))
        part = content(build_loader(config, 1), [0, 1])
        for key, clips in part.items():
            together[key] = sorted(together.get(key, []) + clips)
    assert together == alone


def test_real_videos_through_a_real_loader(real_videos):
    folder = os.path.commonpath(real_videos)
    folder = folder if os.path.isdir(folder) else os.path.dirname(folder)
    batches = list(build_loader(folder_config(folder), 2))
    samples = [s for batch in batches for s in batch['data_samples']]
    assert {s.filename for s in samples} == set(real_videos)
    assert len(samples) == 3 * len(real_videos)
    assert not any(s.unreadable for s in samples)


def test_stock_dataset_and_sampler_work_with_repeated_views(tmp_path, tiny_video_folder):
    ann_file = write_list(tmp_path, ['a.mp4 1', 'b.mp4 0'])
    dataset = dict(
        type='mmaction.VideoDataset',
        ann_file=ann_file,
        data_prefix=dict(video=str(tiny_video_folder)),
        pipeline=video_pipeline(4),
    )
    for sampler in ('mmengine.DefaultSampler', 'amd_mm.EpochSeededSampler'):
        loader = Runner.build_dataloader(
            dict(
                batch_size=2,
                num_workers=1,
                dataset=dataset,
                sampler=dict(type=sampler, shuffle=False),
                collate_fn=dict(type='amd_mm.flatten_views_collate'),
            ),
            seed=0,
        )
        (batch,) = loader
        labels = [s.gt_label.item() for s in batch['data_samples']]
        assert labels == [1] * 4 + [0] * 4
        assert [s.view for s in batch['data_samples']] == [0, 1, 2, 3] * 2


def test_configs_build_under_a_foreign_scope(tiny_video_folder):
    from mmengine.registry import DATASETS as ROOT
    from mmengine.registry import DefaultScope, init_default_scope

    old = DefaultScope.get_current_instance()
    try:
        init_default_scope('mmdet')
        dataset = ROOT.build(folder_config(tiny_video_folder))
        assert len(dataset[0]) == 3
    finally:
        if old is not None:
            init_default_scope(old.scope_name)
    assert DATASETS.get('VideoFolderDataset') is VideoFolderDataset
