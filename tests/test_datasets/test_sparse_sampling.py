"""One frame from each equal segment of a video."""

import numpy as np
import pytest
from amd_mm.datasets import UnreadableVideoError, seeded_randomness
from amd_mm.registry import TRANSFORMS


def build(**options):
    return TRANSFORMS.build(dict(type='amd_mm.SparseSampleFrames', **options))


def sample(total, start_index=0, seed=0, **options):
    results = dict(total_frames=total, start_index=start_index)
    with seeded_randomness(np.random.SeedSequence(seed)):
        return build(**options)(results)


def test_what_it_says():
    results = sample(100, num_clips=2)
    assert results['frame_inds'].shape == (32,)
    assert results['frame_inds'].dtype == np.int32
    assert results['clip_len'] == 16
    assert results['num_clips'] == 2
    assert results['frame_interval'] is None


@pytest.mark.parametrize('total', [16, 17, 31, 40, 160])
@pytest.mark.parametrize('start', [0, 1])
def test_training_takes_every_frame_of_every_segment(total, start):
    edges = np.arange(17) * total / 16
    seen = [set() for _ in range(16)]
    for seed in range(150):
        frames = sample(total, start, seed)['frame_inds'] - start
        for segment, frame in enumerate(frames):
            seen[segment].add(int(frame))
    for segment, frames in enumerate(seen):
        low, high = int(edges[segment]), int(edges[segment + 1])
        assert frames == set(range(low, high))


def test_clips_of_one_video_are_drawn_independently():
    clips = sample(160, num_clips=2)['frame_inds'].reshape(2, 16)
    assert (clips[0] != clips[1]).sum() > 8
    again = sample(160, num_clips=2)['frame_inds'].reshape(2, 16)
    np.testing.assert_array_equal(clips, again)


@pytest.mark.parametrize('start', [0, 1])
def test_testing_takes_middles_and_starts(start):
    """The two clips of the public recipe, by its own numbers."""
    for total in (16, 37, 48, 117):
        tick = total / 16
        middles = [int(tick / 2 + tick * i) + start for i in range(16)]
        starts = [int(tick * i) + start for i in range(16)]
        one = sample(total, start, test_mode=True)['frame_inds']
        assert one.tolist() == middles
        two = sample(total, start, num_clips=2, test_mode=True)['frame_inds']
        assert two.tolist() == middles + starts


def test_more_test_clips_are_spread_evenly():
    four = sample(160, num_clips=4, test_mode=True)['frame_inds']
    first = four.reshape(4, 16)[:, 0]
    assert first.tolist() == [5, 7, 0, 2]
    three = sample(48, num_clips=3, test_mode=True)['frame_inds']
    assert three.reshape(3, 16)[:, 0].tolist() == [1, 2, 0]


@pytest.mark.parametrize('test_mode', [False, True])
@pytest.mark.parametrize('total', [1, 5, 15])
def test_short_videos_repeat_frames(total, test_mode):
    results = [sample(total, 1, seed, test_mode=test_mode) for seed in range(3)]
    frames = results[0]['frame_inds']
    for other in results[1:]:
        np.testing.assert_array_equal(other['frame_inds'], frames)
    assert (np.diff(frames) >= 0).all()
    assert set(frames.tolist()) == set(range(1, total + 1))


def test_videos_without_frames_are_unreadable():
    with pytest.raises(UnreadableVideoError, match='a.mp4.*0 frames'):
        build()(dict(total_frames=0, start_index=0, filename='a.mp4'))
    with pytest.raises(KeyError, match='after amd_mm.VideoInit'):
        build()(dict(start_index=0))


@pytest.mark.parametrize('wrong', [dict(clip_len=0), dict(num_clips=0)])
def test_wrong_arguments(wrong):
    with pytest.raises(ValueError, match='at least 1'):
        build(**wrong)
