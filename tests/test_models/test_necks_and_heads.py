"""Heads, losses and necks; test_golden.py compares their numbers with the public programs."""

import pytest
import torch
import torch.nn.functional as F
from amd_mm.models.heads import FeatureAlignmentLoss, PixelReconstructionHead
from amd_mm.models.mask_generators import AsymmetricTubeMaskGenerator
from amd_mm.models.necks import ParallelAlignment
from amd_mm.models.utils import patchify

from tests.tiny import MEAN, STD

MEAN, STD = torch.tensor(MEAN), torch.tensor(STD)


def normalised(seed=0):
    """A clip of random uint8 pixels, raw and normalised."""
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randint(256, (2, 3, 4, 32, 32), generator=generator).float()
    view = (-1, 1, 1, 1)
    return raw, (raw - MEAN.view(view)) / STD.view(view)


@pytest.mark.parametrize('target', ['per_channel', 'per_patch', 'pixels'])
def test_a_perfect_prediction_gives_the_pixels_back(target):
    raw, clip = normalised()
    head = PixelReconstructionHead(target)
    patches = patchify(clip, (2, 16, 16))
    perfect = head.target(patches, MEAN, STD)
    truth = patchify(raw / 255, (2, 16, 16))
    torch.testing.assert_close(
        head.to_rgb(perfect, patches, MEAN, STD), truth, rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(head.patches_to_rgb(patches, MEAN, STD), truth, rtol=1e-4, atol=1e-4)
    assert head(perfect, patches, MEAN, STD) < 1e-8
    assert head.target(torch.ones(1, 1, 1536), MEAN, STD).isfinite().all()


def test_alignment_loss_is_computed_in_float32():
    mine = torch.full((1, 1, 4), 300.0, dtype=torch.float16)
    loss = FeatureAlignmentLoss()(mine, -mine)
    assert loss.dtype == torch.float32 and loss == 360000.0


def test_parallel_shares_nothing_between_its_branches():
    neck = ParallelAlignment(12, 24, 2, (4, 4, 4), generator_depth=1)
    neck.init_weights()
    partition = AsymmetricTubeMaskGenerator(0.75, 0.5)(2, (4, 4, 4))
    layers = [torch.randn(2, 16, 12) for _ in range(2)]
    out = neck(layers, partition)
    loss = neck.loss(out, [torch.randn(2, 32, 24) for _ in range(2)])
    sum(loss['direct']).backward()
    trained = {n for n, p in neck.named_parameters() if p.grad is not None}
    assert trained == {
        f'direct_projections.{i}.{name}' for i in range(2) for name in ('weight', 'bias')
    }
    torch.testing.assert_close(
        out.direct[0],
        F.linear(layers[0], neck.direct_projections[0].weight, neck.direct_projections[0].bias),
    )


@pytest.mark.parametrize(
    'build, words',
    [
        (lambda: PixelReconstructionHead('hog'), 'per_channel'),
        (lambda: FeatureAlignmentLoss('cosine'), 'smooth_l1'),
        (lambda: ParallelAlignment(12, 24, 2, (4, 4, 4), generator_depth=0), 'generator_depth'),
    ],
)
def test_bad_arguments_are_named(build, words):
    with pytest.raises(ValueError, match=words):
        build()
