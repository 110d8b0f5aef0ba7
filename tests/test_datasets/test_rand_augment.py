"""RandAugment on clips: timm's definition, the same on all frames."""

import cv2
import numpy as np
import pytest
from amd_mm.datasets import seeded_randomness
from amd_mm.datasets.transforms.augmentation import RandAugmentPolicy, _apply, parse_policy
from amd_mm.registry import TRANSFORMS
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


def build(policy=PUBLIC, **options):
    return TRANSFORMS.build(dict(type='amd_mm.RandAugment', policy=policy, **options))


def picture(seed=0, size=(96, 64)):
    """A smooth colourful frame that does not use all values."""
    coarse = np.random.default_rng(seed).integers(20, 220, (4, 5, 3))
    return cv2.resize(coarse.astype(np.uint8), size, interpolation=cv2.INTER_LINEAR)


def clip(frames=3):
    return [picture(seed) for seed in range(frames)]


def augment(transform, frames, seed):
    with seeded_randomness(np.random.SeedSequence(seed)):
        return transform(dict(imgs=frames))['imgs']


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
        ('rand-m7--inc1', "'' is not"),
        ('rand-m7-m9-inc1', "'m9' comes twice"),
        ('rand-m11-inc1', 'm must be'),
        ('rand-m7.5-inc1', 'm must be a whole'),
        ('rand-n0-inc1', 'n must be'),
        ('rand-m7-n4-mstd0.5', "no section 'inc1'"),
        ('rand-m7-inc0', "no section 'inc1'"),
        ('', "begin with 'rand-'"),
        ('rand-m7-w0-inc1', "'w0' is not"),
    ],
)
def test_malformed_policy_strings(text, says):
    with pytest.raises(ValueError, match=says) as error:
        build(text)
    assert repr(text) in str(error.value)


@pytest.mark.parametrize('wrong', [dict(pad_val=300), dict(interpolation='cubic')])
def test_wrong_arguments(wrong):
    with pytest.raises(ValueError):
        build(**wrong)


def test_operations_are_timms():
    operations = build().augment.transforms
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


def test_magnitudes_are_noisy_and_clipped():
    rotate = build().augment.transforms[3]
    top = build('rand-m10-mstd0.5-inc1').augment.transforms[3]
    with seeded_randomness(np.random.SeedSequence(0)):
        angles = np.array([rotate.random_magnitude() for _ in range(2000)])
        highest = np.array([top.random_magnitude() for _ in range(2000)])
    assert angles.mean() == pytest.approx(21, abs=0.15)
    assert angles.std() == pytest.approx(1.5, abs=0.1)
    assert highest.max() == 30
    assert (highest == 30).mean() == pytest.approx(0.5, abs=0.05)


def test_number_of_operations_and_their_probability(monkeypatch):
    """4 are drawn with replacement, half of them are applied."""
    applied = []

    def note(operation, frames):
        applied.append((operation, operation.random_disable()))
        return frames

    monkeypatch.setattr('amd_mm.datasets.transforms.augmentation._apply', note)
    transform = build()
    with seeded_randomness(np.random.SeedSequence(0)):
        for _ in range(1500):
            transform(dict(imgs=clip(1)))
    assert len(applied) == 1500 * 4
    assert np.mean([off for _, off in applied]) == pytest.approx(0.5, abs=0.03)
    drawn = [transform.augment.transforms.index(op) for op, _ in applied]
    shares = np.bincount(drawn, minlength=15) / len(drawn)
    np.testing.assert_allclose(shares, 1 / 15, atol=0.015)
    repeats = np.array(drawn).reshape(-1, 4)
    assert any(len(set(row)) < 4 for row in repeats.tolist())


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
    operation = build('rand-m7-n4-inc1').augment.transforms[index]
    operation.prob = 1.0
    frame = picture()
    if OPERATIONS[index][0] == 'Sharpness':  # nothing to sharpen otherwise
        noise = np.random.default_rng(0).integers(0, 60, frame.shape)
        frame = cv2.add(frame, noise.astype(np.uint8))
    signs = (1, -1) if OPERATIONS[index][0] in SIGNED else (1,)
    references = [by_pillow(index, frame, sign) for sign in signs]
    found = set()
    for seed in range(12):
        with seeded_randomness(np.random.SeedSequence(seed)):
            (result,) = _apply(operation, [frame])
        errors = [np.abs(result.astype(int) - reference).mean() for reference in references]
        # Borders differ a little.
        by_place = index in (3, 10, 11, 12, 13, 14)
        assert min(errors) < (1.5 if by_place else 0.75)
        found.add(int(np.argmin(errors)))
    assert found == set(range(len(signs)))
    # The picture tells right from wrong, channels included.
    for reference in references:
        assert np.abs(reference.astype(int) - frame).mean() > 4


@pytest.mark.parametrize('index', range(15))
def test_short_cuts_change_nothing(index):
    """Tables and Pillow give what MMPretrain's operation gives."""
    operation = build().augment.transforms[index]
    operation.prob = 1.0
    in_bgr = OPERATIONS[index][0] in ('ColorTransform', 'Contrast')
    for seed in range(3):
        entropy = np.random.SeedSequence(seed)
        with seeded_randomness(entropy):
            quick = _apply(operation, clip())
        for frame, result in zip(clip(), quick):
            frame = frame[..., ::-1].copy() if in_bgr else frame
            with seeded_randomness(entropy):
                slow = operation(dict(img=frame))['img']
            slow = slow[..., ::-1] if in_bgr else slow
            assert result.dtype == np.uint8
            assert np.abs(result.astype(int) - slow).max() <= 1


def test_all_frames_are_treated_alike():
    """Frame by frame with the same seed it comes to the same."""
    transform = build()
    changed = 0
    for seed in range(25):
        together = augment(transform, clip(), seed)
        for frame, result in zip(clip(), together):
            (alone,) = augment(transform, [frame], seed)
            np.testing.assert_array_equal(result, alone)
            assert result.shape == frame.shape and result.dtype == np.uint8
        changed += not np.array_equal(together[0], clip()[0])
    assert changed > 15


def test_draws_lists_and_arrays():
    """The random state afterwards does not depend on the number of frames."""
    transform = build()
    for seed in range(25):
        states = []
        for frames in (clip(1), clip(5)):
            with seeded_randomness(np.random.SeedSequence(seed)):
                transform(dict(imgs=frames))
                states.append(np.random.rand())
        assert states[0] == states[1]
        frames = clip()
        as_list = augment(transform, frames, seed)
        as_array = augment(transform, np.stack(frames), seed)
        assert isinstance(as_list, list) and isinstance(as_array, np.ndarray)
        np.testing.assert_array_equal(as_array, as_list)
        np.testing.assert_array_equal(frames, clip())  # not written to


@pytest.mark.parametrize(
    'frames',
    [
        np.zeros((1, 3, 8, 32, 32), np.uint8),
        [np.zeros((32, 32, 3), np.float32)],
        [np.zeros((32, 32, 2), np.uint8)],
    ],
)
def test_only_rgb_bytes(frames):
    with pytest.raises(ValueError, match='before normalising'):
        build()(dict(imgs=frames))


def test_what_it_cannot_do():
    with pytest.raises(KeyError, match='after the decoder'):
        build()(dict())
    with pytest.raises(ValueError, match='not the boxes'):
        build()(dict(imgs=clip(), gt_bboxes=np.zeros((1, 4))))
