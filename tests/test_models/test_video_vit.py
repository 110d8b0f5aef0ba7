"""The video ViT: MMAction2's own, on some of the tokens."""

import pytest
import torch
import torch.nn.functional as F
from amd_mm.models.utils import patchify, position_table, resize_position_table, unpatchify
from amd_mm.registry import MODELS
from mmaction.registry import MODELS as MMACTION_MODELS

from tests.tiny import backbone

SIZES = dict(embed_dims=48, depth=3, num_heads=3, num_frames=8, img_size=64)


def clip(batch=2, channels=3, frames=8, height=64, width=64):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, channels, frames, height, width, generator=generator)


def build(**args):
    torch.manual_seed(0)
    args = {**SIZES, **args}
    model = MODELS.build(dict(type='amd_mm.VideoVisionTransformer', **args))
    model.init_weights()
    # Start values of 0 and 1 would hide swapped biases and norms.
    for param in () if 'pretrained' in args else model.parameters():
        param.data.add_(torch.randn_like(param) * 0.05)
    return model.eval()


def stock(model, **args):
    args = {**SIZES, **args}
    twin = MMACTION_MODELS.build(dict(type='mmaction.VisionTransformer', **args))
    twin.load_state_dict(model.state_dict(), strict=True)
    return twin.eval()


@pytest.mark.parametrize(
    'args',
    [
        dict(),
        dict(use_mean_pooling=False),
        dict(return_feat_map=True),
        dict(qkv_bias=False, init_values=0.1),
        dict(qk_scale=0.3),
        dict(use_learnable_pos_emb=True),
        dict(in_channels=1),
        dict(num_frames=32, img_size=32),
    ],
    ids=str,
)
def test_equals_stock_backbone_and_shares_its_checkpoint(args):
    model = build(**args)
    twin = stock(model, **args)
    x = clip(
        1, args.get('in_channels', 3), args.get('num_frames', 8), *[args.get('img_size', 64)] * 2
    )
    torch.testing.assert_close(model(x), twin(x), rtol=1e-4, atol=1e-5)
    back = build(**args)
    back.load_state_dict(twin.state_dict(), strict=True)
    torch.testing.assert_close(back(x), model(x))


def test_other_clip_sizes_resample_the_table():
    model = build(return_feat_map=True)
    assert model(clip(1, frames=16)).shape == (1, 48, 8, 4, 4)
    other = clip(1, height=96, width=48)  # in space, as the stock backbone does it
    stocks = stock(model, return_feat_map=True)(other)
    torch.testing.assert_close(model(other), stocks, rtol=1e-4, atol=1e-5)
    table = position_table((4, 2, 2), 6)
    longer = resize_position_table(table, (4, 2, 2), (8, 2, 2))
    expected = F.interpolate(table.reshape(4, 4, 6).permute(1, 2, 0), size=8, mode='linear')
    torch.testing.assert_close(longer.reshape(8, 4, 6), expected.permute(2, 0, 1))
    constant = torch.ones(1, 16, 6)
    both = resize_position_table(constant, (4, 2, 2), (6, 4, 3))
    torch.testing.assert_close(both, torch.ones(1, 72, 6))


def test_separable_table_gives_each_direction_its_channels():
    table = position_table((4, 3, 5), 48, 'sincos_3d').reshape(4, 3, 5, 48)
    time, row, col = table.split([16, 16, 16], -1)
    for part, dim in ((time, 0), (row, 1), (col, 2)):
        index = [0, 0, 0]
        index[dim] = slice(None)
        line = part[tuple(index)]
        shape = [1, 1, 1, 16]
        shape[dim] = -1
        torch.testing.assert_close(part, line.view(shape).expand_as(part))
        # every place in this direction has a table of its own
        assert (torch.cdist(line, line) < 1e-3).sum() == len(line)
    strong = position_table((4, 3, 5), 48, 'sincos_3d_strong').reshape(4, 3, 5, 48)
    torch.testing.assert_close(strong, 3 * table)


def test_gradients_equal_those_of_plain_attention_and_stock_backbone():
    fused, plain = build(), build(fused_attention=False)
    plain.load_state_dict(fused.state_dict())
    models = dict(fused=fused, plain=plain, stock=stock(fused))
    x = clip()
    grads = {}
    for name, model in models.items():
        model(x).square().sum().backward()
        grads[name] = {k: p.grad for k, p in model.named_parameters()}
    assert type(fused.blocks[0].attn) is not type(plain.blocks[0].attn)
    for name in ('plain', 'stock'):
        torch.testing.assert_close(fused(x), models[name](x), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(grads['fused'], grads[name], rtol=1e-3, atol=1e-4)


def test_patchify_is_undone_and_puts_tokens_in_order():
    x = clip(1, height=32)
    patches = patchify(x, (2, 16, 16))
    torch.testing.assert_close(unpatchify(patches, (4, 2, 4), (2, 16, 16)), x)
    # token 1*8 + 1*4 + 2 is at time 1, row 1, column 2
    wanted = x[0, :, 2:4, 16:32, 32:48].flatten()
    torch.testing.assert_close(patches[0, 14], wanted)


@pytest.mark.parametrize(
    'args, error, words',
    [
        (dict(drop_path=0.1), TypeError, 'drop_path'),
        (dict(img_size=100), ValueError, 'multiple of patch_size=16'),
        (dict(num_frames=7), ValueError, 'tubelet_size=2'),
        (dict(num_heads=5), ValueError, 'num_heads=5 does not divide'),
        (dict(pos_embed_type='rope'), ValueError, 'sincos_1d.*rope_3d'),
        (dict(pos_embed_type='rope_3d', init_values=0.1), ValueError, 'init_values=0'),
        (dict(pos_embed_type='rope_3d', num_heads=16), ValueError, 'gives 3: change'),
    ],
    ids=str,
)
def test_bad_arguments_are_named(args, error, words):
    with pytest.raises(error, match=words):
        build(**args)


def test_drop_path_grows_linearly_with_depth():
    rates = [getattr(one.drop_path, 'drop_prob', 0.0) for one in build(drop_path_rate=0.2).blocks]
    assert rates == pytest.approx([0, 0.1, 0.2])


def test_pretrained_is_loaded_by_the_strict_loader(tmp_path):
    donor = build(use_mean_pooling=False)
    path = tmp_path / 'donor.pth'
    torch.save({'state_dict': {f'backbone.{k}': v for k, v in donor.state_dict().items()}}, path)
    heir = MODELS.build(dict(backbone(depth=3, pretrained=str(path)), use_mean_pooling=False))
    heir.init_weights()
    torch.testing.assert_close(heir.state_dict(), donor.state_dict())
    tuned = build(pretrained=str(path))
    torch.testing.assert_close(tuned.blocks[2].mlp.state_dict(), donor.blocks[2].mlp.state_dict())
    with pytest.raises(Exception, match='blocks.3'):
        MODELS.build(backbone(depth=4, pretrained=str(path))).init_weights()
