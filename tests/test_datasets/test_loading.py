"""Opening and decoding videos and frame folders."""

import cv2
import numpy as np
import pytest
from amd_mm.datasets import UnreadableVideoError, available_backends, open_video
from amd_mm.datasets.transforms import CheckedRawFrameDecode, VideoDecode, VideoInit
from amd_mm.registry import TRANSFORMS

from .pipelines import SAMPLE

every_backend = pytest.mark.parametrize(
    'backend', [name for name in ('pyav', 'decord') if name in available_backends()]
)


def is_closed(reader):
    return [getattr(reader, name, None) for name in ('_decoder', '_container')] == [None, None]


@every_backend
def test_open_sample_decode(tiny_videos, backend):
    opened = VideoInit(backend, min_frames=20)(dict(filename=tiny_videos[0]))
    assert opened['total_frames'] == 20
    assert opened['avg_fps'] == pytest.approx(25)
    assert opened['start_index'] == 0
    reader = opened['video_reader']
    sampled = TRANSFORMS.build(SAMPLE)(opened)
    results = VideoDecode()(sampled)
    assert results['video_reader'] is None and is_closed(reader)
    assert results['img_shape'] == results['original_shape'] == (48, 64)
    expected = open_video(tiny_videos[0], backend).read(sampled['frame_inds'])
    np.testing.assert_array_equal(results['imgs'], expected)


def test_readers_are_closed_after_errors(tiny_videos, monkeypatch):
    opened = []
    monkeypatch.setattr(
        'amd_mm.datasets.transforms.loading.open_video',
        lambda *args: opened.append(open_video(*args)) or opened[-1],
    )
    with pytest.raises(UnreadableVideoError, match='20 frames, fewer than min_frames=21'):
        VideoInit(min_frames=21)(dict(filename=tiny_videos[0]))
    assert is_closed(opened[0])
    results = VideoInit()(dict(filename=tiny_videos[0]))
    with pytest.raises(IndexError):
        VideoDecode()(dict(results, frame_inds=np.array([99])))
    assert is_closed(opened[1])


def test_relative_boxes_become_pixels(tiny_videos):
    results = VideoInit()(dict(filename=tiny_videos[0]))
    boxes = np.array([[0.0, 0.5, 1.0, 1.0]])
    results.update(frame_inds=np.array([0]), gt_bboxes=boxes, proposals=None)
    np.testing.assert_allclose(VideoDecode()(results)['gt_bboxes'], [[0, 24, 64, 48]])


@pytest.mark.parametrize('wrong', [dict(backend='ffmpeg'), dict(min_frames=0), dict(num_threads=0)])
def test_wrong_arguments(wrong):
    with pytest.raises(ValueError):
        VideoInit(**wrong)


@pytest.fixture
def frame_folder(tmp_path):
    folder = tmp_path / 'my clip'
    folder.mkdir()
    for number in range(1, 11):
        image = np.full((32, 40, 3), 20 * number, np.uint8)
        cv2.imwrite(str(folder / f'img_{number:05}.jpg'), image)
    return folder


def frame_results(folder, numbers):
    return dict(
        frame_dir=str(folder),
        filename_tmpl='img_{:05}.jpg',
        modality='RGB',
        frame_inds=np.array(numbers),
        total_frames=10,
    )


def test_raw_frames(frame_folder):
    results = CheckedRawFrameDecode(min_frames=10)(frame_results(frame_folder, [3, 9, 3]))
    means = [image.mean() for image in results['imgs']]
    np.testing.assert_allclose(means, [60, 180, 60], atol=2)
    with pytest.raises(UnreadableVideoError, match='10 frames, fewer than'):
        CheckedRawFrameDecode(min_frames=11)(results)
    with pytest.raises(ValueError, match='min_frames'):
        CheckedRawFrameDecode(min_frames=0)


def test_bad_raw_frames(frame_folder):
    bad = frame_folder / 'img_00005.jpg'
    for content, message in (
        (b'', 'frame 5 is not'),
        (b'text', 'frame 5 is not'),
        (None, 'No such'),
    ):
        bad.unlink() if content is None else bad.write_bytes(content)
        for numbers in ([5, 1], [1, 5]):
            with pytest.raises(UnreadableVideoError, match=message) as error:
                CheckedRawFrameDecode()(frame_results(frame_folder, numbers))
            assert error.value.path == str(frame_folder)
