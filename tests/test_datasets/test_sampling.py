"""Sparse sampling, and videos shorter than a clip of the configs."""

import numpy as np
import pytest
from amd_mm.datasets import UnreadableVideoError, VideoReader, open_video, seeded_randomness
from amd_mm.datasets.transforms import SampleFramesAtRate, clips_for_testing
from amd_mm.registry import TRANSFORMS
from mmengine.config import Config
from mmengine.dataset import Compose

from ..conftest import REPOSITORY


def sample(total, start_index=0, seed=0, **options):
    transform = TRANSFORMS.build(dict(type='amd_mm.SparseSampleFrames', **options))
    with seeded_randomness(np.random.SeedSequence(seed)):
        return transform(dict(total_frames=total, start_index=start_index))


def test_results_of_sparse_sampling():
    results = sample(160, num_clips=2)
    assert results['frame_inds'].shape == (32,) and results['frame_inds'].dtype == np.int32
    assert (results['clip_len'], results['num_clips']) == (16, 2)
    assert results['frame_interval'] is None
    clips = results['frame_inds'].reshape(2, 16)
    assert (clips[0] != clips[1]).sum() > 8  # drawn independently
    np.testing.assert_array_equal(clips.ravel(), sample(160, num_clips=2)['frame_inds'])


@pytest.mark.parametrize('total, start', [(16, 0), (17, 1), (40, 0), (160, 1)])
def test_training_draws_every_frame_of_every_segment(total, start):
    edges = np.arange(17) * total / 16
    clips = sample(total, start, num_clips=150)['frame_inds'].reshape(150, 16) - start
    seen = [set(frames.tolist()) for frames in clips.T]
    for segment, frames in enumerate(seen):
        assert frames == set(range(int(edges[segment]), int(edges[segment + 1])))


@pytest.mark.parametrize('total, start', [(16, 0), (37, 1), (117, 0)])
def test_testing_takes_middles_and_starts(total, start):
    """The two clips of the public recipe, computed by its own formula."""
    tick = total / 16
    middles = [int(tick / 2 + tick * i) + start for i in range(16)]
    starts = [int(tick * i) + start for i in range(16)]
    assert sample(total, start, test_mode=True)['frame_inds'].tolist() == middles
    two = sample(total, start, num_clips=2, test_mode=True)['frame_inds']
    assert two.tolist() == middles + starts


def test_more_test_clips_are_spread_evenly():
    for total, clips, first in ((160, 4, [5, 7, 0, 2]), (48, 3, [1, 2, 0])):
        frames = sample(total, num_clips=clips, test_mode=True)['frame_inds']
        assert frames.reshape(clips, 16)[:, 0].tolist() == first


@pytest.mark.parametrize('test_mode', [False, True])
@pytest.mark.parametrize('total', [1, 5, 15])
def test_short_videos_repeat_frames(total, test_mode):
    first, *others = (sample(total, 1, s, test_mode=test_mode)['frame_inds'] for s in range(3))
    for other in others:
        np.testing.assert_array_equal(other, first)
    assert (np.diff(first) >= 0).all()
    assert set(first.tolist()) == set(range(1, total + 1))


def test_wrong_input():
    with pytest.raises(UnreadableVideoError, match='0 frames'):
        sample(0)
    transform = TRANSFORMS.build(dict(type='amd_mm.SparseSampleFrames'))
    with pytest.raises(KeyError, match='after amd_mm.VideoInit'):
        transform(dict(start_index=0))
    for wrong in (dict(clip_len=0), dict(num_clips=0)):
        with pytest.raises(ValueError, match='at least 1'):
            sample(16, **wrong)


PRETRAINING = ['k400', 'k400_rawframes', 'sthv2', 'sthv2_rawframes', 'folder']
RECOGNITION = ['k400_recognition', 'ucf101_recognition', 'hmdb51_recognition']


def pipelines(name):
    """The pipelines of all loaders of a base config."""
    cfg = Config.fromfile(REPOSITORY / 'configs' / '_base_' / 'datasets' / f'{name}.py')
    loaders = ('train_dataloader', 'val_dataloader', 'test_dataloader')
    return [cfg[one].dataset.pipeline for one in loaders if one in cfg]


@pytest.mark.parametrize('name', PRETRAINING + RECOGNITION)
def test_configs_never_go_back_in_time(name):
    start = int('rawframes' in name)
    for pipeline in pipelines(name):
        sampling = TRANSFORMS.build(next(t for t in pipeline if t.type == 'mmaction.SampleFrames'))
        stride = sampling.frame_interval
        for total in (16, 20, 15 * stride, 15 * stride + 1, 90):
            found = sampling(dict(total_frames=total, start_index=start))['frame_inds'] - start
            steps = np.diff(found.reshape(-1, 16))
            assert set(steps.flat) <= {0, stride}
            assert found.min() >= 0 and found.max() < total
            # Frames are repeated at the end only, and only in a short video.
            assert (np.diff(steps) <= 0).all()
            assert (0 in steps) == (total <= 15 * stride)


def test_short_video(tiny_videos):
    """Many videos of Something-Something v2 are shorter than the clip's span."""
    for name in PRETRAINING:
        (pipeline,) = pipelines(name)
        assert [one.min_frames for one in pipeline if 'min_frames' in one] == [16]
    (pipeline,) = pipelines('k400')
    results = Compose(pipeline[:3])(dict(filename=tiny_videos[0]))
    expected = open_video(tiny_videos[0]).read([0, 4, 8, 12] + [16] * 12)
    np.testing.assert_array_equal(results['imgs'], expected)


class Timed:
    """A reader of frames at given seconds."""

    has_times = True

    def __init__(self, times):
        self.times, self.length = np.array(times), len(times)

    positions_at = VideoReader.positions_at


@pytest.mark.parametrize(
    'rate, total, options, expected',
    [
        (24, 100, dict(num_clips=2), [0, 3, 6, 9, 90, 93, 96, 99]),
        (30, 46, {}, [17, 21, 24, 28]),  # every 3.75th, around the middle
        (50, 40, {}, [10, 16, 23, 29]),
        (4, 3, {}, [0, 1, 1, 2]),  # fewer frames per second than asked for
        (8, 2, {}, [0, 1, 1, 1]),  # shorter than a clip
        (24, 30, dict(start_index=70, num_clips=2), [70, 73, 76, 79, 90, 93, 96, 99]),  # a segment
    ],
)
def test_frames_per_second_in_testing(rate, total, options, expected):
    start = options.pop('start_index', 0)
    transform = SampleFramesAtRate(8, clip_len=4, test_mode=True, **options)
    reader = Timed(np.arange(start + total) / rate)
    results = transform(dict(video_reader=reader, total_frames=total, start_index=start))
    assert results['frame_inds'].tolist() == expected and results['frame_inds'].dtype == np.int32
    assert (results['clip_len'], results['num_clips']) == (4, transform.num_clips)


def test_frames_per_second_in_training():
    """Clips begin anywhere in their part, and frames are the nearest also at a variable rate."""
    times = np.concatenate([np.arange(50) / 25, 2 + np.arange(100) / 100])
    opened = dict(video_reader=Timed(times), total_frames=150, start_index=0)
    transform = SampleFramesAtRate(10, clip_len=6, num_clips=2)
    starts = []
    for seed in range(200):
        with seeded_randomness(np.random.SeedSequence(seed)):
            clips = times[transform(opened)['frame_inds'].reshape(2, 6)]
        # A frame is at most half the distance of frames (0.04 s) away from its time.
        assert np.abs(np.diff(clips) - 0.1).max() < 0.0401
        starts.append(clips[:, 0])
    latest = times[-1] - 0.5
    np.testing.assert_allclose(np.min(starts, 0), [0, latest / 2], atol=0.06)
    np.testing.assert_allclose(np.max(starts, 0), [latest / 2, latest], atol=0.06)


def test_frames_per_second_of_files(tmp_path, make_video):
    """The same moments of two files of one scene at 25 and 50 frames per second."""
    slow, fast = (
        make_video(tmp_path / f'{fps}.mp4', frames=frames, fps=fps)
        for fps, frames in ((25, 50), (50, 99))
    )
    found = []
    for path in (slow, fast):
        steps = [dict(type='amd_mm.VideoInit'), dict(type='amd_mm.SampleFramesAtRate', fps=5,
            clip_len=8, test_mode=True), dict(type='amd_mm.VideoDecode')]  # fmt: skip
        found.append(Compose(steps)(dict(filename=path)))
    assert np.diff(found[0]['frame_inds']).tolist() == [5] * 7
    assert (found[1]['frame_inds'] == 2 * found[0]['frame_inds']).all()
    expected = open_video(fast).read(2 * found[0]['frame_inds'])
    np.testing.assert_array_equal(found[1]['imgs'], expected)


def test_wrong_frames_per_second():
    with pytest.raises(ValueError, match='fps, clip_len and num_clips must be positive, got 0'):
        SampleFramesAtRate(0)
    with pytest.raises(KeyError, match='after amd_mm.VideoInit'):
        SampleFramesAtRate(8)(dict(total_frames=20, start_index=0))


def test_clips_for_testing():
    for total, last in ((20, 16), (3, 0)):
        sampling = TRANSFORMS.build(clips_for_testing(8, 4))
        frames = sampling(dict(total_frames=total, start_index=0))['frame_inds']
        assert (np.diff(frames) >= 0).all() and frames[-1] == last
    sampling = TRANSFORMS.build(clips_for_testing(8, None, clips=2))
    frames = sampling(dict(total_frames=24, start_index=0))['frame_inds']
    assert frames.tolist() == [*range(1, 24, 3), *range(0, 24, 3)]
