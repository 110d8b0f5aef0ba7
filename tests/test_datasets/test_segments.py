"""Segments of long videos as samples."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from amd_mm.datasets import (
    UnreadableVideoError,
    VideoFolderDataset,
    VideoListDataset,
    files,
    open_video,
    segments,
)
from amd_mm.errors import ConfigError

from .pipelines import PACK, SAMPLE, video_pipeline

# So that cuts keep the pixels.
LOSSLESS = ['-c:v', 'ffv1', '-g', '10']


@pytest.fixture
def folder(tmp_path, make_video, ffmpeg):
    source = make_video(tmp_path / 'source' / 'a.avi', frames=100)
    (tmp_path / 'videos').mkdir()
    ffmpeg('-i', source, *LOSSLESS, tmp_path / 'videos' / 'a.mkv')
    make_video(tmp_path / 'videos' / 'b.mp4', frames=30)
    return tmp_path


def dataset(folder, seconds, pipeline=(), **options):
    options.setdefault('segment_cache', str(folder / 'cache.json'))
    return VideoFolderDataset(
        str(folder / 'videos'), list(pipeline), segment_seconds=seconds, **options
    )


def cuts(data):
    infos = [data.get_data_info(index) for index in range(len(data))]
    return [(Path(info['filename']).name, info.get('segment')) for info in infos]


@pytest.mark.parametrize(
    'seconds, expected',
    [
        (1, [('a.mkv', (25 * i, 25)) for i in range(4)] + [('b.mp4', (0, 30))]),
        # A rest of half a segment and more is a sample, a shorter one belongs to the last segment.
        (1.5, [('a.mkv', (0, 38)), ('a.mkv', (38, 37)), ('a.mkv', (75, 25)), ('b.mp4', (0, 30))]),
        (1.75, [('a.mkv', (0, 44)), ('a.mkv', (44, 56)), ('b.mp4', (0, 30))]),
        (60, [('a.mkv', (0, 100)), ('b.mp4', (0, 30))]),
        (None, [('a.mkv', None), ('b.mp4', None)]),
    ],
)
def test_where_videos_are_cut(folder, seconds, expected):
    assert cuts(dataset(folder, seconds)) == expected


@pytest.mark.parametrize('test_mode', [False, True])
def test_segments_equal_cut_files(folder, ffmpeg, test_mode):
    sampling = dict(SAMPLE, num_clips=2, test_mode=test_mode)
    opening, decoding = dict(type='amd_mm.VideoInit'), dict(type='amd_mm.VideoDecode')
    pipeline = [opening, sampling, decoding, *PACK]
    data = dataset(folder, 1, pipeline, test_mode=test_mode)
    (folder / 'cut' / 'videos').mkdir(parents=True)
    for number in range(4):
        trim = f'trim=start_frame={25 * number}:end_frame={25 * (number + 1)}'
        target = folder / 'cut' / 'videos' / f'{number}.mkv'
        ffmpeg('-i', folder / 'videos' / 'a.mkv', '-vf', trim, *LOSSLESS, target)
    cut = dataset(folder / 'cut', None, pipeline, test_mode=test_mode)
    for number in range(4):
        np.random.seed(number)
        segment = data[number]
        np.random.seed(number)
        assert torch.equal(segment['inputs'], cut[number]['inputs'])
        assert segment['data_samples'].sample_index == number


def test_variable_frame_rate(folder, ffmpeg):
    """Segments are cut by time, and a second without frames is not a sample."""
    shown = "select='lt(n,10)+between(n,50,89)*not(mod(n,4))'"
    options = ['-vf', shown, '-fps_mode', 'vfr', '-c:v', 'ffv1']
    ffmpeg('-i', folder / 'videos' / 'a.mkv', *options, folder / 'videos' / 'b.mkv')
    (folder / 'videos' / 'b.mp4').unlink()
    found = [cut for name, cut in cuts(dataset(folder, 1)) if name == 'b.mkv']
    assert found == [(0, 10), (10, 6), (16, 4)]
    with open_video(str(folder / 'videos' / 'b.mkv')) as reader:
        np.testing.assert_allclose(reader.times[[10, 15, 16]], [2.08, 2.88, 3.04], atol=1e-3)


def test_the_cache_follows_the_files(folder, make_video, monkeypatch):
    opened = []

    class Here:  # instead of other processes
        def __init__(self, workers):
            assert workers >= 1

        def map(self, function, paths):
            for path in paths:
                opened.append(Path(path).name)
                yield function(path)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(segments, 'ProcessPoolExecutor', Here)

    def open_again(seconds=1):
        opened.clear()
        return len(dataset(folder, seconds)), opened.copy()

    assert open_again() == (5, ['a.mkv', 'b.mp4'])
    assert open_again() == (5, [])
    assert open_again(2) == (3, ['a.mkv', 'b.mp4'])
    assert open_again() == (5, [])  # other lengths are kept
    path = make_video(folder / 'videos' / 'b.mp4', frames=75)
    assert open_again() == (7, ['b.mp4'])
    os.utime(path, ns=(1, 1))
    assert open_again() == (7, ['b.mp4'])
    (folder / 'cache.json').write_text('{"1": ')  # of a full disk
    assert open_again() == (7, ['a.mkv', 'b.mp4'])
    assert set(json.loads((folder / 'cache.json').read_text())) == {'1'}
    assert [path.name for path in folder.glob('cache*')] == ['cache.json']


def test_a_cache_that_cannot_be_written(folder, capsys):
    (folder / 'file').touch()
    for _ in range(2):
        assert len(dataset(folder, 1, segment_cache=str(folder / 'file' / 'x.json'))) == 5
    assert 'set segment_cache to another file' in capsys.readouterr().out


def test_lists_and_unreadable_videos(folder):
    (folder / 'bad.mp4').write_bytes(b'no video')
    (folder / 'list.txt').write_text('bad.mp4 2\nnone.mp4 0\nvideos/a.mkv 1\n')
    data = VideoListDataset(
        str(folder / 'list.txt'),
        video_pipeline(),
        data_prefix=dict(video=str(folder)),
        segment_seconds=2,
        segment_cache=str(folder / 'cache.json'),
    )
    assert cuts(data) == [
        ('bad.mp4', None), ('none.mp4', None), ('a.mkv', (0, 50)), ('a.mkv', (50, 50))
    ]  # fmt: skip
    assert 'bad.mp4' not in (folder / 'cache.json').read_text()  # to be tried again
    sample = data[0]['data_samples']  # replaced by a segment, unless it draws none.mp4 first
    assert sample.gt_label.item() == 1 and sample.sample_index in (2, 3)
    assert sample.unreadable[0][0].endswith('bad.mp4')


def test_another_reader_does_not_know_segments(folder):
    """It would read whole videos, several times in an epoch."""
    steps = [dict(type='mmaction.DecordInit'), dict(type='mmaction.DecordDecode')]
    with pytest.raises(ConfigError, match='only amd_mm.VideoInit reads seg.* DecordInit, Decord'):
        dataset(folder, 1, steps)
    (folder / 'list.txt').write_text('videos/a.mkv 1\n')
    with pytest.raises(ConfigError, match='segment_seconds=2: only'):
        VideoListDataset(str(folder / 'list.txt'), steps, segment_seconds=2)
    assert len(dataset(folder, None, steps)) == len(list((folder / 'videos').iterdir()))


def test_wrong_segments(folder):
    with pytest.raises(ValueError, match='segment_seconds must be positive'):
        dataset(folder, 0)
    data = dataset(folder, 1, video_pipeline(min_frames=26), test_mode=True)
    with pytest.raises(UnreadableVideoError, match='25 frames, fewer than min_frames=26'):
        data[1]
    shorter = dict(data.get_data_info(1), segment=(90, 11))
    with pytest.raises(UnreadableVideoError, match='pyav finds 100 frames, not 101'):
        data.pipeline.transforms[0](dict(shorter, segment=(70, 31)))


def test_progress_is_logged(folder, monkeypatch, capsys):
    monkeypatch.setattr(files, '_SECONDS_BETWEEN_LOGS', 0)
    dataset(folder, 1)
    shown = capsys.readouterr().out
    assert '1 folders searched in' in shown and '2 of 2 videos opened' in shown
