"""Videos shorter than a clip of the configs: no frame before the last."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from amd_mm.datasets import open_video
from amd_mm.datasets.transforms import clips_for_testing
from amd_mm.registry import TRANSFORMS
from mmengine import Config

DATA = Path(__file__).resolve().parents[2] / 'configs' / '_base_' / 'datasets'
PRETRAINING = ['k400', 'k400_rawframes', 'sthv2', 'sthv2_rawframes', 'folder']
RECOGNITION = ['k400_recognition', 'ucf101_recognition', 'hmdb51_recognition']


def pipelines(name):
    """Those of all loaders of a base config."""
    cfg = Config.fromfile(DATA / f'{name}.py')
    loaders = ('train_dataloader', 'val_dataloader', 'test_dataloader')
    return [cfg[one].dataset.pipeline for one in loaders if one in cfg]


def sampling_of(pipeline):
    return TRANSFORMS.build(next(one for one in pipeline if one.type == 'mmaction.SampleFrames'))


@pytest.mark.parametrize('name', PRETRAINING + RECOGNITION)
@pytest.mark.parametrize('start', [0, 1])
def test_frames_never_go_back(name, start):
    for pipeline in pipelines(name):
        sampling = sampling_of(pipeline)
        stride = sampling.frame_interval
        for total in (16, 20, 15 * stride, 15 * stride + 1, 90):
            video = dict(total_frames=total, start_index=start)
            frames = sampling(video)['frame_inds'] - start
            steps = np.diff(frames.reshape(-1, 16))
            assert set(steps.flat) <= {0, stride}
            assert frames.min() >= 0 and frames.max() < total
            # Nothing is repeated but at the end, and there only if need be.
            assert (np.diff(steps) <= 0).all()
            assert (0 in steps) == (total <= 15 * stride)


@pytest.mark.parametrize('name', PRETRAINING)
def test_pretraining_takes_videos_of_16_frames(name):
    """Many of Something-Something v2 are shorter than the clip's span."""
    (pipeline,) = pipelines(name)
    shortest = [one.min_frames for one in pipeline if 'min_frames' in one]
    assert shortest == [16]


def test_a_short_video_to_its_end(tmp_path, make_video):
    path = make_video(tmp_path / 'short.mp4', frames=20)
    (pipeline,) = pipelines('k400')
    results = dict(filename=path)
    for transform in pipeline[:3]:
        results = TRANSFORMS.build(transform)(results)
    expected = open_video(path, 'pyav').read([0, 4, 8, 12] + [16] * 12)
    np.testing.assert_array_equal(results['imgs'], expected)


def test_a_short_folder_of_frames_to_its_end(tmp_path):
    for number in range(1, 21):
        image = np.full((32, 40, 3), 10 * number, np.uint8)
        cv2.imwrite(str(tmp_path / f'img_{number:05}.jpg'), image)
    results = dict(
        frame_dir=str(tmp_path),
        filename_tmpl='img_{:05}.jpg',
        modality='RGB',
        total_frames=20,
        start_index=1,
    )
    (pipeline,) = pipelines('sthv2_rawframes')
    for transform in pipeline[:2]:
        results = TRANSFORMS.build(transform)(results)
    means = [image.mean() / 10 for image in results['imgs']]
    expected = [*range(1, 20, 2)] + [19] * 6
    np.testing.assert_allclose(means, expected, atol=0.3)


@pytest.mark.parametrize('total, last', [(20, 16), (3, 0)])
def test_clips_for_testing_go_to_the_end(total, last):
    sampling = TRANSFORMS.build(clips_for_testing(8, 4))
    frames = sampling(dict(total_frames=total, start_index=0))['frame_inds']
    assert (np.diff(frames) >= 0).all() and frames[-1] == last


def test_sparse_clips_for_testing():
    sampling = TRANSFORMS.build(clips_for_testing(8, None, clips=2))
    frames = sampling(dict(total_frames=24, start_index=0))['frame_inds']
    assert frames.tolist() == [*range(1, 24, 3), *range(0, 24, 3)]
