"""Attention distances and linear CKA follow their definitions."""

from pathlib import Path

import cv2
import pytest
import torch
from amd_mm.registry import MODELS
from amd_mm.visualization.features import (
    attention_distances,
    block_features,
    cka_matrix,
    draw_similarity,
    linear_cka,
    patch_places,
    query_key,
    sample_tokens,
    weighted_distances,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ..tiny import backbone
from ..tiny_image import image_backbone

# -- attention distance ------------------------------------------------------------------------


def plain_distances(places: Tensor) -> Tensor:
    """(N, N, 2), within the frame and in time."""
    offset = places[:, None] - places
    return torch.stack([offset[..., 1:].square().sum(-1).sqrt(), offset[..., 0].abs()], dim=-1)


def test_attention_to_all_to_itself_and_to_one() -> None:
    places = patch_places(MODELS.build(backbone()))
    assert places.shape == (64, 3)
    assert places[-1].tolist() == [6, 48, 48]  # tubelets of 2, patches of 16
    distances, nothing = plain_distances(places), torch.zeros(2, 3, 64, 5)
    found = weighted_distances(nothing, nothing, places, chunk=7)
    torch.testing.assert_close(found, distances.mean((0, 1)).expand(2, 3, 2))
    itself = 1e4 * torch.eye(64).expand(1, 1, 64, 64)
    assert weighted_distances(itself, itself, places).abs().max() == 0
    first = torch.zeros(1, 1, 64, 1)
    first[:, :, 0] = 1e4
    found = weighted_distances(torch.ones(1, 1, 64, 1), first, places)
    torch.testing.assert_close(found[0, 0], distances[0].mean(0))


@pytest.mark.parametrize(
    'cfg',
    [
        backbone(depth=2),
        backbone(depth=2, fused_attention=False, qk_scale=0.3),
        backbone(depth=2, pos_embed_type='rope_3d'),
        image_backbone(),
        image_backbone(with_cls_token=False, out_type='avg_featmap'),
    ],
    ids=['video', 'video, stock attention', 'rotary', 'image', 'no class token'],
)
def test_equals_the_whole_matrix(cfg: dict) -> None:
    """Against weights computed as a whole, from the blocks' inputs."""
    torch.manual_seed(0)
    vit = MODELS.build(cfg).eval()
    vit.init_weights()
    for name, parameter in vit.named_parameters():
        if 'qkv' in name or name.endswith('bias'):  # far from uniform
            torch.nn.init.normal_(parameter, std=0.3)
    images = vit.input_dims == 4
    inputs = torch.rand((2, 3, 64, 64) if images else (2, 3, 8, 64, 64))
    found = attention_distances(vit, inputs)

    given = []
    for block in vit.blocks:
        block.attn.register_forward_hook(lambda module, x, y: given.append((module, x, y)))
    with torch.no_grad():
        vit.encode(vit.patchify(inputs))
    extra = vit.num_extra_tokens
    distance = plain_distances(patch_places(vit))
    for number, (module, (tokens, *rotation), output) in enumerate(given):
        query, key = query_key(module, tokens, *rotation)
        whole = (query @ key.transpose(-1, -2)).softmax(-1)
        # These are the weights that the block itself attends with.
        value = torch.nn.functional.linear(
            tokens,
            module.qkv.weight[2 * vit.embed_dims :],
            module.v_bias if hasattr(module, 'v_bias') else module.qkv.bias[2 * vit.embed_dims :],
        ).unflatten(-1, (module.num_heads, -1))
        mixed = (whole @ value.transpose(1, 2)).transpose(1, 2).flatten(2)
        torch.testing.assert_close(module.proj(mixed), output, atol=1e-4, rtol=1e-4)
        weights = whole[:, :, extra:, extra:]
        weights = weights / weights.sum(-1, keepdim=True)
        expected = torch.einsum('bhqk,qkd->hd', weights, distance)
        expected /= len(inputs) * len(distance)
        close = dict(rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(found.space[number], expected[:, 0], **close)
        if images:
            assert found.time is None
        else:
            torch.testing.assert_close(found.time[number], expected[:, 1], **close)
    assert found.space.std() > 0.1  # or there would be nothing to compare


# -- similarity --------------------------------------------------------------------------------

SEEDS = st.integers(0, 2**31)
SIZES = st.integers(2, 12)


def features(seed: int, rows: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, width, generator=generator).double()


def hsic_cka(one: Tensor, other: Tensor) -> float:
    """By its definition: kernels, centring matrix, traces."""
    count = len(one)
    centre = torch.eye(count, dtype=one.dtype) - 1 / count

    def hsic(k: Tensor, l: Tensor) -> Tensor:  # noqa: E741, as in the paper
        return (k @ centre @ l @ centre).trace() / (count - 1) ** 2

    kernels = one @ one.T, other @ other.T
    norm = hsic(kernels[0], kernels[0]) * hsic(kernels[1], kernels[1])
    return float(hsic(*kernels) / norm.sqrt())


@settings(max_examples=30)
@given(seed=SEEDS, rows=SIZES, widths=st.tuples(SIZES, SIZES))
def test_cka_equals_the_definition(seed: int, rows: int, widths: tuple) -> None:
    one, other = (features(seed + index, rows, width) + 5 for index, width in enumerate(widths))
    value = linear_cka(one, other)
    assert value == pytest.approx(hsic_cka(one, other), abs=1e-9)
    assert value == pytest.approx(linear_cka(other, one), abs=1e-9)
    assert -1e-9 < value < 1 + 1e-9


@settings(max_examples=30)
@given(
    seed=SEEDS,
    rows=st.integers(3, 12),
    width=SIZES,
    scale=st.floats(1e-3, 1e3),
    shift=st.floats(-10, 10),
)
def test_rotation_scale_and_shift_change_nothing(
    seed: int, rows: int, width: int, scale: float, shift: float
) -> None:
    one, other = features(seed, rows, width), features(seed + 1, rows, 5)
    turn = torch.linalg.qr(features(seed + 2, width, width)).Q
    moved = scale * one @ turn + shift
    assert linear_cka(one, moved) == pytest.approx(1, abs=1e-9)
    assert linear_cka(moved, other) == pytest.approx(linear_cka(one, other), abs=1e-9)
    # A stretch of one direction does change it.
    stretched = moved @ torch.diag(torch.tensor([9.0] + [1.0] * (width - 1)).double())
    assert linear_cka(one, stretched) < 1 - 1e-6


def test_unrelated_features_are_near_zero() -> None:
    one, other = features(0, 4000, 6), features(1, 4000, 6)
    assert linear_cka(one, other) < 0.01
    assert linear_cka(one, torch.ones(4000, 3)) == 0
    with pytest.raises(ValueError, match=r'\[5, 6\] rows'):
        linear_cka(one[:5], other[:6])


def test_float32_is_close_enough_with_an_outlying_channel() -> None:
    one, other = features(0, 300, 20), features(1, 300, 30)
    one[:, 3] = 1e3 * one[:, 3] + 1e4
    other[:, :20] += one / 10
    single = cka_matrix([one.float()], [other.float(), one.float()])
    double = cka_matrix([one], [other, one])
    torch.testing.assert_close(single, double, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('cfg', [backbone(), image_backbone()], ids=['video', 'image'])
def test_features_are_those_of_the_chosen_layers_and_tokens(cfg: dict) -> None:
    vit = MODELS.build(cfg).eval()
    vit.init_weights()
    inputs = torch.randn((2, 3, 64, 64) if vit.input_dims == 4 else (2, 3, 8, 64, 64))
    tokens = vit.token_grid[0] * 16
    chosen = sample_tokens(2, tokens, 11)
    assert chosen.shape == (2, 5) and chosen.max() < tokens
    found = block_features(vit, inputs, chosen)
    with torch.no_grad():
        layers = vit.encode(vit.patchify(inputs), layers=[2, 4]).layers
    for block, layer in zip((found[1], found[3]), layers):
        layer = layer[:, vit.num_extra_tokens :]
        expected = torch.stack([layer[clip, token] for clip in (0, 1) for token in chosen[clip]])
        torch.testing.assert_close(block, expected, rtol=1e-4, atol=1e-4)


def test_layer_pairs_are_framed(tmp_path: Path) -> None:
    models = dict(AMD=torch.rand(4, 6), untrained=torch.rand(4, 6))
    path = draw_similarity(models, tmp_path / 'a.png', dict(AMD=[(2, 3), (4, 6)]))
    picture = torch.tensor(cv2.imread(str(path)))
    orange = torch.tensor([0x00, 0x5E, 0xD5])  # BGR of the frames
    framed = (picture == orange).all(-1)[: len(picture) // 2]  # without the legend
    assert framed[:, : framed.shape[1] // 2].sum() > 100
    assert not framed[:, framed.shape[1] // 2 :].any()  # the other model's panel
