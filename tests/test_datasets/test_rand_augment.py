"""RandAugment on clips: timm's definition, the same on all frames."""

import cv2
import numpy as np
import pytest
from amd_mm.datasets import seeded_randomness
from amd_mm.registry import TRANSFORMS

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
