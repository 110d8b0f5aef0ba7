"""Sparse sampling, and videos shorter than a clip of the configs."""

import cv2
import numpy as np
import pytest
from amd_mm.datasets import UnreadableVideoError, open_video, seeded_randomness
from amd_mm.datasets.transforms import clips_for_testing
from amd_mm.registry import TRANSFORMS
from mmengine import Config

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


@pytest.mark.parametrize('total', [16, 17, 31, 40, 160])
@pytest.mark.parametrize('start', [0, 1])
def test_training_draws_every_frame_of_every_segment(total, start):
    edges = np.arange(17) * total / 16
    seen = [set() for _ in range(16)]
    for seed in range(150):
        for segment, frame in enumerate(sample(total, start, seed)['frame_inds'] - start):
            seen[segment].add(int(frame))
    for segment, frames in enumerate(seen):
        assert frames == set(range(int(edges[segment]), int(edges[segment + 1])))


@pytest.mark.parametrize('start', [0, 1])
@pytest.mark.parametrize('total', [16, 37, 48, 117])
def test_testing_takes_middles_and_starts(total, start):
    """The two clips of the public recipe, computed by its own formula."""
    tick = total / 16
    middles = [int(tick / 2 + tick * i) + start for i in range(16)]
    starts = [int(tick * i) + start for i in range(16)]
    assert sample(total, start, test_mode=True)['frame_inds'].tolist() == middles
    two = sample(total, start, num_clips=2, test_mode=True)['frame_inds']
    assert two.tolist() == middles + starts


def test_more_test_clips_are_spread_evenly():
    four = sample(160, num_clips=4, test_mode=True)['frame_inds'].reshape(4, 16)
    assert four[:, 0].tolist() == [5, 7, 0, 2]
    three = sample(48, num_clips=3, test_mode=True)['frame_inds'].reshape(3, 16)
    assert three[:, 0].tolist() == [1, 2, 0]


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
@pytest.mark.parametrize('start', [0, 1])
def test_configs_never_go_back_in_time(name, start):
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


@pytest.mark.parametrize('name', PRETRAINING)
def test_pretraining_takes_videos_of_16_frames(name):
    """Many videos of Something-Something v2 are shorter than the clip's span."""
    (pipeline,) = pipelines(name)
    assert [one.min_frames for one in pipeline if 'min_frames' in one] == [16]


def run(pipeline, results):
    for transform in pipeline:
        results = TRANSFORMS.build(transform)(results)
    return results['imgs']


def test_short_video_and_short_folder(tmp_path, make_video):
    path = make_video(tmp_path / 'short.mp4', frames=20)
    (pipeline,) = pipelines('k400')
    expected = open_video(path).read([0, 4, 8, 12] + [16] * 12)
    np.testing.assert_array_equal(run(pipeline[:3], dict(filename=path)), expected)
    for number in range(1, 21):
        image = np.full((32, 40, 3), 10 * number, np.uint8)
        cv2.imwrite(str(tmp_path / f'img_{number:05}.jpg'), image)
    folder = dict(
        frame_dir=str(tmp_path),
        filename_tmpl='img_{:05}.jpg',
        modality='RGB',
        total_frames=20,
        start_index=1,
    )
    (pipeline,) = pipelines('sthv2_rawframes')
    means = [image.mean() / 10 for image in run(pipeline[:2], folder)]
    np.testing.assert_allclose(means, [*range(1, 20, 2)] + [19] * 6, atol=0.3)


def test_clips_for_testing():
    for total, last in ((20, 16), (3, 0)):
        sampling = TRANSFORMS.build(clips_for_testing(8, 4))
        frames = sampling(dict(total_frames=total, start_index=0))['frame_inds']
        assert (np.diff(frames) >= 0).all() and frames[-1] == last
    sampling = TRANSFORMS.build(clips_for_testing(8, None, clips=2))
    frames = sampling(dict(total_frames=24, start_index=0))['frame_inds']
    assert frames.tolist() == [*range(1, 24, 3), *range(0, 24, 3)]
