"""The image backbone: MMPretrain's ViT, and what it can do besides."""

import pytest
import torch
import torch.nn.functional as F
from amd_mm.checkpoints import load_encoder
from amd_mm.models.utils import position_table
from amd_mm.registry import MODELS
from torch import nn

from tests.tiny_image import image_backbone


def build(**other):
    torch.manual_seed(0)
    model = MODELS.build(image_backbone(**other))
    model.init_weights()
    return model.eval()


def mae_vit():
    stock = MODELS.build(
        dict(type='mmpretrain.MAEViT', arch=image_backbone()['arch'], img_size=64, patch_size=16)
    )
    stock.init_weights()
    return stock


@pytest.fixture(scope='module')
def images():
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    'other',
    [
        dict(out_type='avg_featmap', final_norm=False),
        dict(out_type='raw', with_cls_token=False),
        dict(out_type='featmap', use_learnable_pos_emb=True),
    ],
)
def test_weights_go_into_the_stock_backbone_and_back(other, images):
    model = build(**other)
    arguments = dict(image_backbone(**other), type='mmpretrain.VisionTransformer')
    arguments.pop('use_learnable_pos_emb', None)
    stock = MODELS.build(arguments)
    stock.load_state_dict(model.state_dict())
    stock.eval()
    assert torch.equal(stock(images)[0], model(images)[0])
    model.load_state_dict(stock.state_dict())


@pytest.mark.parametrize('cls_token, size', [(True, (64, 96)), (False, (64, 64))])
def test_encode_is_forward(cls_token, size):
    model = build(out_type='raw', with_cls_token=cls_token, out_indices=[1, 3])
    images = torch.randn(2, 3, *size)
    second, last = model(images)
    out = model.encode(model.patchify(images), layers=[2, 4], grid=model.grid_of(images))
    close = dict(rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(out.layers[0], second, **close)
    torch.testing.assert_close(out.tokens, last, **close)
    torch.testing.assert_close(model.norm(out.layers[1]), last, **close)


def test_stopping_runs_nothing_after_the_last_layer(images):
    model = build()
    for number in (2, 3):
        model.layers[number] = nn.Identity()  # would change the result
    model.ln1 = None
    out = model.encode(model.patchify(images), layers=[2], stop_early=True)
    expected = build().encode(model.patchify(images), layers=[2], stop_early=True)
    assert torch.equal(out.layers[0], expected.layers[0])


def test_query_key_value_of_a_block(images):
    model = build()
    patches = model.patchify(images)
    query, key, value = model.query_key_value(patches, 3, num_heads=4)
    assert query.shape == (2, 4, 17, 12)
    stream = model.encode(patches, layers=[1, 2])
    layer = model.layers[2]
    parts = layer.attn.qkv(layer.ln1(stream.layers[1])).chunk(3, dim=-1)
    for mine, part in zip((query, key, value), parts):
        assert torch.equal(mine, part.unflatten(-1, (4, 12)).transpose(1, 2))
    own = model.query_key_value(patches, 3)
    assert own.shape == (3, 2, 3, 17, 16)
    # With its own heads, these make the block's attention.
    out = F.scaled_dot_product_attention(*own).transpose(1, 2).flatten(2)
    expected = layer.attn(layer.ln1(stream.layers[1]))
    torch.testing.assert_close(layer.attn.proj(out), expected)


def test_position_table_is_mae_s_not_mmpretrain_s():
    model, dims = build(), 48
    table = model.pos_embed[0, 1:].view(4, 4, dims)
    stock = mae_vit()
    swapped = torch.cat([table[..., 24:], table[..., :24]], -1)
    torch.testing.assert_close(stock.pos_embed[0, 1:].view(4, 4, dims), swapped)
    with pytest.raises(ValueError, match='one frame'):
        position_table((2, 4, 4), dims, 'sincos_2d')


def test_a_file_s_own_table_is_taken():
    """MMPretrain's MAE was trained with its table, so it comes along."""
    stock = mae_vit()
    model = build()
    load_encoder(model, stock.state_dict(), logger='silent')
    assert torch.equal(model.pos_embed, stock.pos_embed)
    larger = build(img_size=96)
    report = load_encoder(larger, stock.state_dict(), logger='silent')
    assert 'resampled from (1, 4, 4)' in report.recomputed['pos_embed']
    assert larger.pos_embed.shape == (1, 37, 48)


def test_start_is_mae_s():
    model = build(use_learnable_pos_emb=True)
    assert isinstance(model.pos_embed, nn.Parameter)
    assert torch.equal(model.pos_embed.data, build().pos_embed)
    weight = model.patch_embed.projection.weight
    bound = (6 / (48 + 768)) ** 0.5  # of a linear layer, not of a convolution
    assert weight.abs().max() <= bound and weight.std() > bound / 2
    assert not model.patch_embed.projection.bias.any()
    assert 0.01 < model.cls_token.std() < 0.03


@pytest.mark.parametrize(
    'other, message',
    [
        (dict(img_size=72, patch_size=16), 'img_size=72 .* patch_size=16'),
        (dict(patch_cfg=dict(stride=8)), 'are tiles'),
        (dict(layer_cfgs=dict(num_heads=5)), 'num_heads=5 of block 1'),
        (
            dict(pretrained='a.pth', init_cfg=dict(type='Pretrained', checkpoint='b.pth')),
            'a.pth.*b.pth',
        ),
    ],
)
def test_mistakes_in_the_config(other, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build({**image_backbone(), **other})
    with pytest.raises(TypeError, match='depht'):
        MODELS.build(dict(image_backbone(), depht=3))


def test_mistakes_in_the_call(images):
    model = build()
    with pytest.raises(ValueError, match='60x64 .* 16x16'):
        model.patchify(torch.randn(1, 3, 60, 64))
    with pytest.raises(ValueError, match='in_channels=3'):
        model.patchify(images[:, :1])
    with pytest.raises(ValueError, match=r'\(B, C, H, W\)'):
        model.patchify(images[0])
    patches = model.patchify(images)
    for layers in ([0], [5], [2, 1], [2, 2]):
        with pytest.raises(ValueError, match='rising block numbers from 1 to 4'):
            model.encode(patches, layers=layers)
    with pytest.raises(ValueError, match='from 1 to 4'):
        model.query_key_value(patches, 5)
    with pytest.raises(ValueError, match='num_heads=5 does not divide'):
        model.query_key_value(patches, 3, num_heads=5)
