"""Decoder, head, loss and necks against the plain way of computing them."""

import pytest
import torch
import torch.nn.functional as F
from amd_mm.models.heads import PixelReconstructionHead
from amd_mm.models.losses import FeatureAlignmentLoss
from amd_mm.models.mask_generators import AsymmetricTubeMaskGenerator
from amd_mm.models.necks import MaskTokenBlocks, ParallelAlignment
from amd_mm.models.utils import patchify

from tests.tiny import MEAN, STD

MEAN, STD = torch.tensor(MEAN), torch.tensor(STD)


def normalised(seed=0):
    """A clip of random uint8 pixels, raw and normalised."""
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randint(256, (2, 3, 4, 32, 32), generator=generator).float()
    view = (-1, 1, 1, 1)
    return raw, (raw - MEAN.view(view)) / STD.view(view)


def blocks_of(clip):
    """The plain way: loop over the patches, values as (t, h, w, c)."""
    out = []
    for t in range(0, 4, 2):
        for h in range(0, 32, 16):
            for w in range(0, 32, 16):
                patch = clip[:, :, t : t + 2, h : h + 16, w : w + 16]
                out.append(patch.permute(0, 2, 3, 4, 1))
    return out


@pytest.mark.parametrize('target', ['per_channel', 'per_patch', 'pixels'])
def test_targets_equal_their_definition(target):
    raw, clip = normalised()
    head = PixelReconstructionHead(target)
    mine = head.target(patchify(clip, (2, 16, 16)), MEAN, STD)
    plain = []
    for rgb, values in zip(blocks_of(raw / 255), blocks_of(clip)):
        if target == 'per_channel':
            flat = rgb.flatten(1, 3)
            flat = (flat - flat.mean(1, keepdim=True)) / (flat.std(1, keepdim=True) + 1e-6)
            plain.append(flat.flatten(1))
        elif target == 'per_patch':
            flat = values.flatten(1)
            plain.append(
                (flat - flat.mean(1, keepdim=True)) / (flat.var(1, keepdim=True) + 1e-6).sqrt()
            )
        else:
            plain.append(values.flatten(1))
    torch.testing.assert_close(mine, torch.stack(plain, 1), rtol=1e-4, atol=1e-4)


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


def test_a_flat_patch_has_a_finite_target():
    head = PixelReconstructionHead()
    assert head.target(torch.ones(1, 1, 1536), MEAN, STD).isfinite().all()


@pytest.mark.parametrize(
    'distance, plain',
    [
        ('l2', lambda d: d.square()),
        ('l1', lambda d: d.abs()),
        ('smooth_l1', lambda d: torch.where(d.abs() < 1, d.square() / 2, d.abs() - 0.5)),
    ],
)
@pytest.mark.parametrize('normalize', [False, True])
def test_alignment_loss_equals_its_definition(distance, plain, normalize):
    mine, theirs = torch.randn(2, 3, 7, 8) * 3
    loss = FeatureAlignmentLoss(distance, normalize)(mine.bfloat16().float(), theirs)
    mine = mine.bfloat16().float()
    if normalize:
        mine = mine / mine.norm(dim=-1, keepdim=True)
        theirs = theirs / theirs.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(loss, plain(mine - theirs).mean())


def test_alignment_loss_is_computed_in_float32():
    mine = torch.full((1, 1, 4), 300.0, dtype=torch.float16)
    loss = FeatureAlignmentLoss()(mine, -mine)
    assert loss.dtype == torch.float32 and loss == 360000.0


def test_blocks_fill_in_where_asked():
    """Order of the asked tokens does not matter, their places do."""
    torch.manual_seed(0)
    blocks = MaskTokenBlocks(24, 2, 3, (1, 4, 4))
    blocks.init_weights()
    tokens = torch.randn(1, 4, 24)
    seen, wanted = torch.tensor([[1, 5, 6, 9]]), torch.tensor([[0, 3, 12]])
    out = blocks.fill_in(tokens, seen, wanted)
    flipped = blocks.fill_in(tokens, seen, wanted.flip(1))
    torch.testing.assert_close(out.flip(1), flipped, rtol=1e-4, atol=1e-5)
    elsewhere = blocks.fill_in(tokens, seen + 6, wanted)
    assert (out - elsewhere).abs().max() > 1e-3
    assert 'pos_embed' not in blocks.state_dict()


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
