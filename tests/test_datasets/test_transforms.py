"""Opening, decoding and repeated views."""

import cv2
import numpy as np
import pytest
import torch
from amd_mm.datasets import (
    UnreadableVideoError,
    available_backends,
    flatten_views_collate,
    open_video,
    seeded_randomness,
)
from amd_mm.datasets.transforms import CheckedRawFrameDecode, RepeatedViews, VideoDecode, VideoInit
from amd_mm.registry import MODELS, TRANSFORMS
from mmengine.structures import BaseDataElement

from .pipelines import CROP, PACK, SAMPLE

LOCAL = [name for name in ('pyav', 'decord') if name in available_backends()]


@pytest.mark.parametrize('backend', LOCAL)
def test_mmactions_sampling_stands_between_opening_and_decoding(tiny_videos, backend):
    opened = VideoInit(backend, min_frames=20)(dict(filename=tiny_videos[0]))
    assert opened['total_frames'] == 20
    assert opened['avg_fps'] == pytest.approx(25)
    assert opened['start_index'] == 0
    reader = opened['video_reader']
    sampled = TRANSFORMS.build(SAMPLE)(opened)
    results = VideoDecode()(sampled)
    assert results['video_reader'] is None
    assert results['img_shape'] == results['original_shape'] == (48, 64)
    assert len(results['imgs']) == 8
    expected = open_video(tiny_videos[0], backend).read(sampled['frame_inds'])
    np.testing.assert_array_equal(results['imgs'], expected)
    assert reader_is_closed(reader)


def reader_is_closed(reader):
    held = [getattr(reader, name, None) for name in ('_decoder', '_container', '_capture')]
    return held == [None, None, None]


@pytest.mark.parametrize('backend', LOCAL)
def test_short_videos_are_unreadable(tiny_videos, monkeypatch, backend):
    opened = []
    monkeypatch.setattr(
        'amd_mm.datasets.transforms.loading.open_video',
        lambda *args: opened.append(open_video(*args)) or opened[-1],
    )
    with pytest.raises(UnreadableVideoError, match='20 frames, fewer than min_frames=21'):
        VideoInit(backend, min_frames=21)(dict(filename=tiny_videos[0]))
    assert reader_is_closed(opened[0])


def test_the_reader_is_closed_when_decoding_fails(tiny_videos):
    results = VideoInit()(dict(filename=tiny_videos[0]))
    reader = results['video_reader']
    with pytest.raises(IndexError):
        VideoDecode()(dict(results, frame_inds=np.array([99])))
    assert reader_is_closed(reader)


def test_relative_boxes_become_pixels(tiny_videos):
    results = VideoInit()(dict(filename=tiny_videos[0]))
    boxes = np.array([[0.0, 0.5, 1.0, 1.0]])
    results.update(frame_inds=np.array([0]), gt_bboxes=boxes, proposals=None)
    results = VideoDecode()(results)
    np.testing.assert_allclose(results['gt_bboxes'], [[0, 24, 64, 48]])


@pytest.mark.parametrize('wrong', [dict(backend='ffmpeg'), dict(min_frames=0), dict(num_threads=0)])
def test_wrong_arguments_fail_when_the_config_is_built(wrong):
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
    )


def test_raw_frames(frame_folder):
    results = CheckedRawFrameDecode()(frame_results(frame_folder, [3, 9, 3]))
    means = [image.mean() for image in results['imgs']]
    np.testing.assert_allclose(means, [60, 180, 60], atol=2)


def test_short_frame_folders_are_unreadable(frame_folder):
    results = dict(frame_results(frame_folder, [1]), total_frames=10)
    CheckedRawFrameDecode(min_frames=10)(dict(results))
    with pytest.raises(UnreadableVideoError, match='10 frames, fewer than'):
        CheckedRawFrameDecode(min_frames=11)(results)
    with pytest.raises(ValueError, match='min_frames'):
        CheckedRawFrameDecode(min_frames=0)


@pytest.mark.parametrize(
    'content, says',
    [
        (None, 'frame 5: .*No such file'),
        (b'', 'frame 5 is not an image'),
        (b'text', 'frame 5 is not an image'),
    ],
)
@pytest.mark.parametrize('numbers', [[5, 1], [1, 5]])
def test_bad_raw_frames(frame_folder, content, says, numbers):
    bad = frame_folder / 'img_00005.jpg'
    bad.unlink() if content is None else bad.write_bytes(content)
    with pytest.raises(UnreadableVideoError, match=says) as error:
        CheckedRawFrameDecode()(frame_results(frame_folder, numbers))
    assert error.value.path == str(frame_folder)


def test_bad_flow_frames(frame_folder):
    for axis in 'xy':
        flow = np.full((32, 40), 128, np.uint8)
        for number in (1, 2):
            cv2.imwrite(str(frame_folder / f'{axis}_{number}.jpg'), flow)
    results = dict(frame_results(frame_folder, [1, 2]), modality='Flow', filename_tmpl='{}_{}.jpg')
    images = CheckedRawFrameDecode()(dict(results))['imgs']
    assert [image.shape for image in images] == [(32, 40, 2)] * 2
    for axis in 'xy':
        (frame_folder / f'{axis}_2.jpg').write_bytes(b'text')
        with pytest.raises(UnreadableVideoError, match='frame 2'):
            CheckedRawFrameDecode()(dict(results))


def clip(as_array=False):
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (8, 48, 64, 3), dtype=np.uint8)
    return dict(
        imgs=frames if as_array else list(frames),
        img_shape=(48, 64),
        original_shape=(48, 64),
        num_clips=1,
        clip_len=8,
        modality='RGB',
        label=2,
        video_reader=object(),
    )


@pytest.mark.parametrize('as_array', [False, True])
def test_views_start_from_the_same_frames(as_array):
    """Flipping is in place: it must not reach the next view."""
    flip = [dict(type='mmaction.Flip', flip_ratio=1.0)] + PACK
    once = np.array(clip()['imgs'])[:, :, ::-1].transpose(3, 0, 1, 2)
    for view in RepeatedViews(flip, num_views=3)(clip(as_array)):
        np.testing.assert_array_equal(view['inputs'][0].numpy(), once)


def test_views_are_cropped_differently_and_packed_alike():
    with seeded_randomness(np.random.SeedSequence(0)):
        views = RepeatedViews(CROP + PACK, num_views=4)(clip())
    assert len(views) == 4
    for number, view in enumerate(views):
        assert view['inputs'].shape == (1, 3, 8, 32, 32)
        assert view['inputs'].dtype == torch.uint8
        assert view['data_samples'].view == number
        assert view['data_samples'].gt_label.item() == 2
    different = {view['inputs'].numpy().tobytes() for view in views}
    assert len(different) == 4


def test_one_view_equals_the_transforms_alone():
    compose = [TRANSFORMS.build(cfg) for cfg in CROP + PACK]
    for seed in range(5):
        with seeded_randomness(np.random.SeedSequence(seed)):
            (view,) = RepeatedViews(CROP + PACK, num_views=1)(clip())
        with seeded_randomness(np.random.SeedSequence(seed)):
            plain = clip()
            for transform in compose:
                plain = transform(plain)
        assert torch.equal(view['inputs'], plain['inputs'])


def test_the_decoder_goes_no_further():
    seen = []
    RepeatedViews([lambda results: seen.append(results) or results])(clip())
    assert len(seen) == 4
    assert not any('video_reader' in results for results in seen)


def test_views_need_frames_and_a_number():
    with pytest.raises(KeyError, match='after the decoder'):
        RepeatedViews(PACK)(dict(frame_inds=[1]))
    with pytest.raises(ValueError, match='num_views'):
        RepeatedViews(PACK, num_views=0)
    assert RepeatedViews([lambda results: None])(clip()) is None


def sample(value):
    return dict(inputs=torch.full((1,), value), data_samples=BaseDataElement())


def test_collation_keeps_views_of_a_video_together():
    batch = flatten_views_collate([[sample(0), sample(1)], [sample(2), sample(3)]])
    assert [x.item() for x in batch['inputs']] == [0, 1, 2, 3]
    assert len(batch['data_samples']) == 4
    single = flatten_views_collate([sample(5), sample(6)])
    assert [x.item() for x in single['inputs']] == [5, 6]


@pytest.mark.parametrize('nothing', [None, [], [None]])
def test_collation_names_what_is_missing(nothing):
    with pytest.raises(TypeError, match='sample 1 of the batch'):
        flatten_views_collate([sample(0), nothing])


def test_pixels_are_bytes_until_they_are_on_the_device():
    batch = flatten_views_collate([RepeatedViews(CROP + PACK)(clip())])
    assert {x.dtype for x in batch['inputs']} == {torch.uint8}
    mean, std = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
    preprocessor = MODELS.build(
        dict(type='mmaction.ActionDataPreprocessor', mean=mean, std=std, format_shape='NCTHW')
    )
    inputs = preprocessor(batch)['inputs']
    assert inputs.dtype == torch.float32 and inputs.shape[:2] == (4, 1)
    raw = torch.stack(batch['inputs']).double()
    shape = (1, 1, 3, 1, 1, 1)
    expected = (raw - raw.new_tensor(mean).view(shape)) / raw.new_tensor(std).view(shape)
    torch.testing.assert_close(inputs.double(), expected, atol=1e-5, rtol=0)
