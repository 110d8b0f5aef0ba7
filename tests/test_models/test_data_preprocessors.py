"""Clips to the device as uint8, normalised there, as MMAction2 does."""

import pytest
import torch
from amd_mm.registry import MODELS

from tests.tiny import MEAN, STD

SETTINGS = dict(mean=MEAN, std=STD)


def preprocess(kind, inputs, **settings):
    module = MODELS.build(dict(type=kind, **SETTINGS, **settings))
    return module(dict(inputs=inputs, data_samples=[]), True)['inputs']


def clips(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize('inputs', [
    [clips(2, 3, 4, 16, 16, seed=seed) for seed in range(3)],
    [clips(6, 4, 16, 16, 3).movedim(-1, 1)],
], ids=['clips', 'one tensor'])  # yapf: disable
def test_values_are_those_of_mmaction2(inputs):
    expected = preprocess('mmaction.ActionDataPreprocessor', inputs, format_shape='NCTHW')
    found = preprocess('amd_mm.ClipPreprocessor', inputs)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected.reshape(found.shape))


def test_given_clips_are_not_changed():
    given = [clips(1, 3, 4, 16, 16).float()]
    before = given[0].clone()
    preprocess('amd_mm.ClipPreprocessor', given)
    assert torch.equal(given[0], before)


def test_the_copy_does_not_wait():
    copies = []

    class Watched(torch.Tensor):
        def to(self, *arguments, **options):
            copies.append(options)
            return super().to(*arguments, **options)

    preprocess('amd_mm.ClipPreprocessor', [clips(1, 3, 4, 16, 16).as_subclass(Watched)])
    assert copies and all(copy.get('non_blocking') for copy in copies)


def test_clips_of_two_sizes():
    with pytest.raises(ValueError, match=r'\(1, 3, 4, 16, 16\) and .*32, 32'):
        preprocess('amd_mm.ClipPreprocessor', [clips(1, 3, 4, 16, 16), clips(1, 3, 4, 32, 32)])
