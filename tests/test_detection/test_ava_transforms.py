"""Clips around timestamps, and proposals from ground-truth boxes."""

from fractions import Fraction

import av
import numpy as np
import pytest
from amd_mm.datasets import UnreadableVideoError, VideoReader, open_video
from amd_mm.registry import TRANSFORMS

FRAMES = dict(fps=30, timestamp=902, timestamp_start=900, start_index=1, shot_info=(0, 120))


def sampler(**options):
    return TRANSFORMS.build(dict(type='amd_mm.SampleAVAClip', **options))


class Evenly(VideoReader):
    """Six seconds at a constant rate; nothing is decoded."""

    _open = _decode = close = None

    def __init__(self, rate):
        self.path, self.avg_fps, self.length = 'a.mp4', rate, rate * 6


@pytest.mark.parametrize('rate', [5, 20])
def test_clips_of_another_rate_show_the_same_times(rate):
    transform = sampler(clip_len=4, frame_interval=4, test_mode=True)
    info = dict(
        fps=10, timestamp=903, timestamp_start=900, start_index=0, video_reader=Evenly(rate)
    )
    found = transform(dict(info))['frame_inds']
    # 8 frames of 10 a second before and 4 after the third second.
    assert found.tolist() == [x * rate // 10 for x in (22, 26, 30, 34)]
    between = transform(dict(info, timestamp=903.4))['frame_inds']
    assert between.tolist() == [x * rate // 10 for x in (26, 30, 34, 38)]
    with pytest.raises(UnreadableVideoError, match='timestamp 908 is 8 s'):
        transform(dict(info, timestamp=908))
    # The last second may be incomplete; its last frame is repeated.
    late = transform(dict(info, timestamp=906))['frame_inds']
    assert rate * 6 - 2 <= late[2] == late[3] < rate * 6
    info['video_reader'].avg_fps = 0
    with pytest.raises(UnreadableVideoError, match='frame rate'):
        transform(info)


@pytest.mark.parametrize('backend', ['pyav', 'decord'])
def test_times_of_a_variable_rate(tmp_path, backend):
    """A screen recording: 60 frames in the first second, then one a second."""
    path, shown = str(tmp_path / 'recording.mp4'), [*(n / 60 for n in range(60)), 1, 2, 3, 4, 5]
    with av.open(path, 'w') as file:
        stream = file.add_stream('mpeg4', rate=60)
        stream.width = stream.height = 32
        stream.codec_context.time_base = Fraction(1, 600)
        for time in shown:
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), int(40 * time), np.uint8))
            frame.pts, frame.time_base = round(600 * time), Fraction(1, 600)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    if backend == 'decord':
        pytest.importorskip('decord')
    transform = sampler(clip_len=8, frame_interval=4, test_mode=True)
    info = dict(fps=30, timestamp=3, timestamp_start=0, start_index=0)
    with open_video(path, backend) as reader:
        np.testing.assert_allclose(reader.times, shown, atol=1e-6)
        assert 5 < reader.duration < 5.1
        found = transform(dict(info, video_reader=reader))['frame_inds']
    assert [shown[at] for at in found] == [2, 3, 3, 3, 3, 3, 3, 3]


def test_raw_frames():
    # img_00061.jpg is the frame 60, two seconds after the beginning.
    found = sampler(clip_len=2, frame_interval=2, test_mode=True)(dict(FRAMES))
    assert found['frame_inds'].tolist() == [59, 61]
    np.random.seed(0)
    training, centres = sampler(clip_len=8, frame_interval=4), 61 + np.arange(-16, 16, 4)
    shifts = np.stack([training(dict(FRAMES))['frame_inds'] - centres for _ in range(20)])
    assert shifts.min() == -2 and shifts.max() == 1


def proposals(boxes, **options):
    transform = TRANSFORMS.build(dict(type='amd_mm.GroundTruthProposals', **options))
    return transform(dict(gt_bboxes=boxes))['proposals']


def test_ground_truth_proposals():
    boxes = np.array([[0.1, 0.2, 0.3, 0.6], [0.0, 0.5, 1.0, 1.0]])
    assert np.array_equal(proposals(boxes), boxes)
    np.random.seed(0)
    found = proposals(boxes, copies=50, jitter=0.025).reshape(51, 2, 4)
    assert np.array_equal(found[0], boxes)
    assert found.min() >= 0 and found.max() <= 1
    low, high = np.maximum(found, boxes), np.minimum(found, boxes)
    both = (high[..., 2:] - low[..., :2]).prod(-1)
    area = (found[..., 2:] - found[..., :2]).prod(-1)
    truth = (boxes[:, 2:] - boxes[:, :2]).prod(-1)
    overlap = both / (area + truth - both)
    assert (overlap >= 0.95**2 - 1e-9).all() and overlap.min() < 0.96
    for wrong in (dict(copies=1), dict(jitter=0.1), dict(copies=-1), dict(copies=1, jitter=0.5)):
        with pytest.raises(ValueError, match='copies'):
            proposals(boxes, **wrong)
