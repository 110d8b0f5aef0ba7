"""RandAugment and random erasing: timm's definitions, the same on all frames of a clip."""

import cv2
import numpy as np
import pytest
from amd_mm.datasets import seeded_randomness
from amd_mm.datasets.transforms.augmentation import (
    RandAugment,
    RandAugmentPolicy,
    RandomErasing,
    _apply,
    parse_policy,
)
from PIL import Image, ImageEnhance, ImageOps

pytest.importorskip('mmpretrain', reason='RandAugment takes its operations from MMPretrain')
PUBLIC = 'rand-m7-n4-mstd0.5-inc1'
# timm, _RAND_INCREASING_TRANSFORMS: what the level 10 stands for.
OPERATIONS = [
    ('AutoContrast', None),
    ('Equalize', None),
    ('Invert', None),
    ('Rotate', (0, 30)),
    ('Posterize', (4, 0)),
    ('Solarize', (256, 0)),
    ('SolarizeAdd', (0, 110)),
    ('ColorTransform', (0, 0.9)),
    ('Contrast', (0, 0.9)),
    ('Brightness', (0, 0.9)),
    ('Sharpness', (0, 0.9)),
    ('Shear', (0, 0.3)),
    ('Shear', (0, 0.3)),
    ('Translate', (0, 0.45)),
    ('Translate', (0, 0.45)),
]
SIGNED = ('Rotate', 'ColorTransform', 'Contrast', 'Brightness', 'Sharpness', 'Shear', 'Translate')
MEAN = np.array([123.675, 116.28, 103.53])
STD = np.array([58.395, 57.12, 57.375])


def picture(seed=0, size=(96, 64)):
    """A smooth colourful frame that does not use all values."""
    coarse = np.random.default_rng(seed).integers(20, 220, (4, 5, 3))
    return cv2.resize(coarse.astype(np.uint8), size, interpolation=cv2.INTER_LINEAR)


def clip(frames=3):
    return [picture(seed) for seed in range(frames)]


@pytest.mark.parametrize('transform', [RandAugment(), RandomErasing(probability=1)])
def test_one_draw_for_lists_and_arrays_of_any_length(transform):

    def augment(frames, seed):
        with seeded_randomness(np.random.SeedSequence(seed)):
            return transform(dict(imgs=frames))['imgs'], np.random.rand()

    frames, changed = clip(), 0
    for seed in range(25):
        together, state = augment(frames, seed)
        (alone,), other_state = augment(frames[:1], seed)
        np.testing.assert_array_equal(together[0], alone)
        assert state == other_state
        if isinstance(transform, RandAugment):  # random erasing has other noise in each frame
            for frame, result in zip(frames, together):
                np.testing.assert_array_equal(augment([frame], seed)[0][0], result)
        assert all(one.shape == (64, 96, 3) and one.dtype == np.uint8 for one in together)
        changed += not np.array_equal(together[0], frames[0])
        as_array, _ = augment(np.stack(frames), seed)
        assert isinstance(together, list) and isinstance(as_array, np.ndarray)
        np.testing.assert_array_equal(as_array, together)
    np.testing.assert_array_equal(frames, clip())  # not written to
    assert changed > 15
    for wrong in (np.zeros((1, 3, 8, 32, 32), np.uint8), [np.zeros((32, 32, 3), np.float32)]):
        with pytest.raises(ValueError, match='before normalising'):
            transform(dict(imgs=wrong))
    with pytest.raises(KeyError, match='after the decoder'):
        transform(dict())


@pytest.mark.parametrize(
    'kind, wrong',
    [
        (RandAugment, dict(pad_val=300)),
        (RandAugment, dict(interpolation='cubic')),
        (RandomErasing, dict(mode='noise')),
        (RandomErasing, dict(probability=1.5)),
        (RandomErasing, dict(min_area=0.5, max_area=0.2)),
        (RandomErasing, dict(min_aspect=2)),
        (RandomErasing, dict(mean=(1, 2))),
    ],
)
def test_wrong_arguments(kind, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        kind(**wrong)


def test_wrong_input():
    with pytest.raises(ValueError, match='not the boxes'):
        RandAugment()(dict(imgs=clip(), gt_bboxes=np.zeros((1, 4))))
    with pytest.raises(ValueError, match='one size'):
        RandomErasing()(dict(imgs=[*clip(1), picture(size=(8, 8))]))


@pytest.mark.parametrize(
    'text, expected',
    [
        (PUBLIC, (7, 4, 0.5)),
        ('rand-m9-mstd0.5-inc1', (9, 2, 0.5)),
        ('rand-inc1-n3', (10, 3, 0.0)),
        ('rand-m5-mstd101-inc1', (5, 2, 'inf')),
    ],
)
def test_policy_strings(text, expected):
    assert parse_policy(text) == RandAugmentPolicy(*expected)


@pytest.mark.parametrize(
    'text, says',
    [
        ('m7-n4-inc1', "begin with 'rand-'"),
        ('rand-m7-x4-inc1', "'x4' is not"),
        ('rand-m7-n-inc1', "'n' is not"),
        ('rand-m7-m9-inc1', "'m9' comes twice"),
        ('rand-m11-inc1', 'm must be'),
        ('rand-m7.5-inc1', 'm must be a whole'),
        ('rand-n0-inc1', 'n must be'),
        ('rand-m7-n4-mstd0.5', "no section 'inc1'"),
    ],
)
def test_malformed_policy_strings(text, says):
    with pytest.raises(ValueError, match=says) as error:
        RandAugment(text)
    assert repr(text) in str(error.value)


def test_operations_are_timms():
    operations = RandAugment().augment.transforms
    assert [(type(op).__name__, op.magnitude_range) for op in operations] == OPERATIONS
    assert {op.prob for op in operations} == {0.5}
    for op in operations:
        if op.magnitude_range:
            assert (op.magnitude_level, op.magnitude_std) == (7, 0.5)
            signed = type(op).__name__ in SIGNED
            assert op.random_negative_prob == (0.5 if signed else 0)
        if type(op).__name__ in ('Rotate', 'Shear', 'Translate'):
            assert op.pad_val == (128, 128, 128)
            assert op.interpolation == 'bicubic'
    assert [op.direction for op in operations[-4:]] == ['horizontal', 'vertical'] * 2


def by_pillow(index, frame, sign):
    """What timm's operation gives at level 7, by Pillow."""
    image = Image.fromarray(frame)
    name = OPERATIONS[index][0]
    width, height = image.size
    simple = dict(
        AutoContrast=ImageOps.autocontrast,
        Equalize=ImageOps.equalize,
        Invert=ImageOps.invert,
        Posterize=lambda im: ImageOps.posterize(im, 2),
        Solarize=lambda im: ImageOps.solarize(im, 256 - 179),
        SolarizeAdd=lambda im: im.point(
            [min(255, v + 77) if v < 128 else v for v in range(256)] * 3
        ),
    )
    enhancers = dict(
        ColorTransform=ImageEnhance.Color,
        Contrast=ImageEnhance.Contrast,
        Brightness=ImageEnhance.Brightness,
        Sharpness=ImageEnhance.Sharpness,
    )
    if name in simple:
        return np.array(simple[name](image))
    if name in enhancers:
        return np.array(enhancers[name](image).enhance(1 + sign * 0.63))
    fill = dict(resample=Image.BICUBIC, fillcolor=(128,) * 3)
    if name == 'Rotate':
        return np.array(image.rotate(sign * 21, **fill))
    matrix = {
        11: (1, sign * 0.21, 0, 0, 1, 0),
        12: (1, 0, 0, sign * 0.21, 1, 0),
        13: (1, 0, sign * 0.315 * width, 0, 1, 0),
        14: (1, 0, 0, 0, 1, sign * 0.315 * height),
    }[index]
    return np.array(image.transform(image.size, Image.AFFINE, matrix, **fill))


@pytest.mark.parametrize('index', range(15))
def test_operations_do_what_timms_do(index):
    name = OPERATIONS[index][0]
    operation = RandAugment('rand-m7-n4-inc1').augment.transforms[index]
    operation.prob = 1.0
    frame = picture()
    if name == 'Sharpness':  # nothing to sharpen otherwise
        noise = np.random.default_rng(0).integers(0, 60, frame.shape)
        frame = cv2.add(frame, noise.astype(np.uint8))
    signs = (1, -1) if name in SIGNED else (1,)
    references = [by_pillow(index, frame, sign) for sign in signs]
    found = set()
    for seed in range(12):
        entropy = np.random.SeedSequence(seed)
        with seeded_randomness(entropy):
            (result,) = _apply(operation, [frame])
        errors = [np.abs(result.astype(int) - reference).mean() for reference in references]
        # Borders differ a little.
        by_place = index in (3, 10, 11, 12, 13, 14)
        assert min(errors) < (1.5 if by_place else 0.75)
        found.add(int(np.argmin(errors)))
        # The short cuts give what MMPretrain's operation gives.
        in_bgr = name in ('ColorTransform', 'Contrast')
        with seeded_randomness(entropy):
            slow = operation(dict(img=frame[..., ::-1].copy() if in_bgr else frame))['img']
        slow = slow[..., ::-1] if in_bgr else slow
        assert result.dtype == np.uint8
        assert np.abs(result.astype(int) - slow).max() <= 1
    assert found == set(range(len(signs)))
    # The picture tells right from wrong, channels included.
    for reference in references:
        assert np.abs(reference.astype(int) - frame).mean() > 4


def erase(frames, seed=0, **options):
    with seeded_randomness(np.random.SeedSequence(seed)):
        return RandomErasing(**options)(dict(imgs=frames))['imgs']


def plain(frames=3, size=(120, 160)):
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
    transform = RandomErasing(probability=probability, mode='const')
    with seeded_randomness(np.random.SeedSequence(0)):
        boxes = [find_box(transform(dict(imgs=plain(1, (40, 40))))['imgs'][0]) for _ in range(1000)]
    share = np.mean([box is not None for box in boxes])
    # Wide boxes do not fit sometimes, hardly ever ten times in a row.
    assert share == pytest.approx(probability, abs=0.04)


def test_area_aspect_and_place():
    transform = RandomErasing(probability=1, mode='const')
    with seeded_randomness(np.random.SeedSequence(0)):
        boxes = np.array([find_box(transform(dict(imgs=plain(1)))['imgs'][0]) for _ in range(800)])
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
    frames = plain(6)
    result = erase(frames, probability=1)
    changed = np.stack([(frame != 1).any(axis=2) for frame in result])
    top, left, height, width = find_box(result[0])
    inside = np.zeros((120, 160), bool)
    inside[top : top + height, left : left + width] = True
    assert not changed[:, ~inside].any()
    assert changed[:, inside].mean() > 0.99
    assert all(frame.dtype == np.uint8 for frame in result)
    assert all(not np.array_equal(frame, result[0]) for frame in result[1:])
    np.testing.assert_array_equal(frames, plain(6))  # not written to


def normalised(frames, mean=MEAN, std=STD):
    top, left, height, width = find_box(frames[0])
    box = np.stack(frames)[:, top : top + height, left : left + width]
    return (box - mean) / std


def test_noise_is_standard_normal_after_normalisation():
    noise = normalised(erase(plain(8), seed=1, probability=1)).reshape(-1, 3)
    assert noise.size > 30000
    np.testing.assert_allclose(noise.mean(0), 0, atol=0.05)
    # Bytes end about two standard deviations from the mean.
    np.testing.assert_allclose(noise.std(0), 0.96, atol=0.03)
    correlation = np.corrcoef(noise.T)[np.triu_indices(3, 1)]
    np.testing.assert_allclose(correlation, 0, atol=0.05)
    mean, std = np.array([100.0, 128.0, 150.0]), np.array([10.0, 20.0, 30.0])
    frames = erase(plain(8), seed=1, probability=1, mean=mean, std=std)
    values = normalised(frames, 0, 1).reshape(-1, 3)
    np.testing.assert_allclose(values.mean(0), mean, atol=1)
    np.testing.assert_allclose(values.std(0), std, rtol=0.03)


def test_other_modes():
    constant = normalised(erase(plain(), probability=1, mode='const'))
    assert np.abs(constant).max() < 0.01
    colours = normalised(erase(plain(), probability=1, mode='rand'))
    assert np.ptp(colours, axis=(1, 2)).max() == 0
    assert len(np.unique(colours)) > 6


def test_a_box_that_does_not_fit():
    assert find_box(erase(plain(1, (1, 1)), probability=1)[0]) is None
