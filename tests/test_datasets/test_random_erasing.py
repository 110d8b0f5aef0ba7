"""Random erasing: one box per clip, noise in normalised units."""

import numpy as np
import pytest
from amd_mm.datasets import seeded_randomness
from amd_mm.registry import TRANSFORMS

MEAN = np.array([123.675, 116.28, 103.53])
STD = np.array([58.395, 57.12, 57.375])


def build(**options):
    return TRANSFORMS.build(dict(type='amd_mm.RandomErasing', **options))


def erase(frames, seed=0, **options):
    with seeded_randomness(np.random.SeedSequence(seed)):
        return build(**options)(dict(imgs=frames))['imgs']


def clip(frames=3, size=(120, 160)):
    """Value 1 everywhere, which noise hardly ever has."""
    return [np.ones((*size, 3), np.uint8) for _ in range(frames)]


def find_box(frame):
    """(top, left, height, width) of the changed part, or None."""
    rows, columns = np.nonzero((frame != 1).any(axis=2))
    if not len(rows):
        return None
    return (rows.min(), columns.min(), np.ptp(rows) + 1, np.ptp(columns) + 1)


@pytest.mark.parametrize('probability', [0, 0.25, 1])
def test_probability(probability):
    transform = build(probability=probability, mode='const')
    with seeded_randomness(np.random.SeedSequence(0)):
        boxes = [find_box(transform(dict(imgs=clip(1, (40, 40))))['imgs'][0]) for _ in range(1000)]
    share = np.mean([box is not None for box in boxes])
    # Wide boxes do not fit sometimes, hardly ever ten times in a row.
    assert share == pytest.approx(probability, abs=0.04)


def test_area_aspect_and_place():
    transform = build(probability=1, mode='const')
    with seeded_randomness(np.random.SeedSequence(0)):
        boxes = np.array([find_box(transform(dict(imgs=clip(1)))['imgs'][0]) for _ in range(800)])
    top, left, height, width = boxes.T
    area = height * width / (120 * 160)
    assert 0.018 < area.min() < 0.03 and 0.31 < area.max() < 0.34
    assert area.mean() == pytest.approx((0.02 + 1 / 3) / 2, abs=0.02)
    aspect = np.log(height / width)
    edge = np.log(1 / 0.3)
    assert -edge - 0.1 < aspect.min() < -0.9 * edge
    assert 0.7 * edge < aspect.max() < edge + 0.1
    small = aspect[area < 0.1]  # these always fit: the distribution is uniform
    assert small.mean() == pytest.approx(0, abs=0.12)
    assert small.std() == pytest.approx(edge / np.sqrt(3), abs=0.08)
    assert top.min() == left.min() == 0
    assert (top + height).max() == 120 and (left + width).max() == 160


def test_one_box_for_all_frames():
    frames = clip(6)
    result = erase(frames, probability=1)
    changed = np.stack([(frame != 1).any(axis=2) for frame in result])
    top, left, height, width = find_box(result[0])
    inside = np.zeros((120, 160), bool)
    inside[top : top + height, left : left + width] = True
    assert not changed[:, ~inside].any()
    assert changed[:, inside].mean() > 0.99
    assert all(frame.dtype == np.uint8 for frame in result)
    assert all(not np.array_equal(frame, result[0]) for frame in result[1:])
    np.testing.assert_array_equal(frames, clip(6))  # not written to


def normalised(frames, mean=MEAN, std=STD):
    top, left, height, width = find_box(frames[0])
    box = np.stack(frames)[:, top : top + height, left : left + width]
    return (box - mean) / std


def test_noise_is_standard_normal_after_normalisation():
    noise = normalised(erase(clip(8), seed=1, probability=1)).reshape(-1, 3)
    assert noise.size > 30000
    np.testing.assert_allclose(noise.mean(0), 0, atol=0.05)
    # Bytes end about two standard deviations from the mean.
    np.testing.assert_allclose(noise.std(0), 0.96, atol=0.03)
    correlation = np.corrcoef(noise.T)[np.triu_indices(3, 1)]
    np.testing.assert_allclose(correlation, 0, atol=0.05)
    mean, std = np.array([100.0, 128.0, 150.0]), np.array([10.0, 20.0, 30.0])
    frames = erase(clip(8), seed=1, probability=1, mean=mean, std=std)
    values = normalised(frames, 0, 1).reshape(-1, 3)
    np.testing.assert_allclose(values.mean(0), mean, atol=1)
    np.testing.assert_allclose(values.std(0), std, rtol=0.03)


def test_other_modes():
    constant = normalised(erase(clip(), probability=1, mode='const'))
    assert np.abs(constant).max() < 0.01
    colours = normalised(erase(clip(), probability=1, mode='rand'))
    assert np.ptp(colours, axis=(1, 2)).max() == 0
    assert len(np.unique(colours)) > 6


def test_lists_arrays_and_draws():
    as_list = erase(clip(4), probability=1)
    as_array = erase(np.stack(clip(4)), probability=1)
    assert isinstance(as_list, list) and isinstance(as_array, np.ndarray)
    np.testing.assert_array_equal(as_array, as_list)
    after = []
    for frames in (1, 5):
        with seeded_randomness(np.random.SeedSequence(0)):
            build(probability=1)(dict(imgs=clip(frames)))
            after.append(np.random.rand())
    assert after[0] == after[1]
    # No box fits into one pixel.
    assert find_box(erase(clip(1, (1, 1)), probability=1)[0]) is None


@pytest.mark.parametrize(
    'wrong',
    [
        dict(mode='noise'),
        dict(probability=1.5),
        dict(min_area=0),
        dict(min_area=0.5, max_area=0.2),
        dict(min_aspect=2),
        dict(mean=(1, 2)),
    ],
)
def test_wrong_arguments(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        build(**wrong)


def test_wrong_frames():
    with pytest.raises(ValueError, match='before normalising'):
        erase(np.zeros((1, 3, 8, 32, 32), np.uint8))
    with pytest.raises(ValueError, match='one size'):
        erase([clip(1)[0], clip(1, (8, 8))[0]])
    with pytest.raises(KeyError, match='after the decoder'):
        build()(dict())
