"""The video ViT: MMAction2's own, on some of the tokens."""

import pytest
import torch
import torch.nn.functional as F
from amd_mm.models.utils import (
    gather_tokens,
    patchify,
    position_table,
    resize_position_table,
    unpatchify,
)
from amd_mm.registry import MODELS
from mmaction.registry import MODELS as MMACTION_MODELS

from tests.tiny import backbone, preprocessor

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
        dict(img_size=112),
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


def test_other_frame_size_is_resampled_as_stock_does():
    model = build(return_feat_map=True)
    x = clip(1, height=96, width=48)
    torch.testing.assert_close(
        model(x), stock(model, return_feat_map=True)(x), rtol=1e-4, atol=1e-5
    )


def test_other_clip_length_resamples_the_table_in_time():
    model = build(return_feat_map=True)
    assert model(clip(1, frames=16)).shape == (1, 48, 8, 4, 4)
    table = position_table((4, 2, 2), 6)
    longer = resize_position_table(table, (4, 2, 2), (8, 2, 2))
    expected = F.interpolate(table.reshape(4, 4, 6).permute(1, 2, 0), size=8, mode='linear')
    torch.testing.assert_close(longer.reshape(8, 4, 6), expected.permute(2, 0, 1))
    constant = torch.ones(1, 16, 6)
    both = resize_position_table(constant, (4, 2, 2), (6, 4, 3))
    torch.testing.assert_close(both, torch.ones(1, 72, 6))


def test_table_of_any_grid_is_built_for_it():
    model = build(img_size=(32, 64), num_frames=16)
    assert model.token_grid == (8, 2, 4)
    assert model.pos_embed.shape == (1, 64, 48)
    assert model(clip(1, frames=16, height=32)).shape == (1, 48)


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


def test_linear_on_a_subset_equals_convolution_then_gather():
    model, x = build(), clip()
    ids = torch.stack([torch.randperm(64)[:20] for _ in range(2)])
    everything = model.patch_embed(x)[0] + model.pos_embed
    torch.testing.assert_close(
        model.embed(model.patchify(x), ids), gather_tokens(everything, ids), rtol=1e-4, atol=1e-5
    )


def test_patchify_is_undone_and_puts_tokens_in_order():
    x = clip(1, height=32)
    patches = patchify(x, (2, 16, 16))
    torch.testing.assert_close(unpatchify(patches, (4, 2, 4), (2, 16, 16)), x)
    # token 1*8 + 1*4 + 2 is at time 1, row 1, column 2
    wanted = x[0, :, 2:4, 16:32, 32:48].flatten()
    torch.testing.assert_close(patches[0, 14], wanted)


def test_layers_are_the_residual_stream_before_the_norm():
    model = build(use_mean_pooling=False)
    patches = model.patchify(clip())
    out = model.encode(patches, layers=[1, 3])
    stream = model.embed(patches)
    for number, block in enumerate(model.blocks, start=1):
        stream = block(stream)
        if number == 1:
            torch.testing.assert_close(out.layers[0], stream)
    torch.testing.assert_close(out.layers[1], stream)
    torch.testing.assert_close(out.tokens, model.norm(stream))
    assert len(out.layers) == 2


def test_early_stop_runs_no_further_block():
    model = build(use_mean_pooling=False)
    patches = model.patchify(clip())
    full = model.encode(patches, layers=[2])
    calls = []
    model.blocks[2].register_forward_hook(lambda *_: calls.append(1))
    short = model.encode(patches, layers=[2], stop_early=True)
    assert short.tokens is None and not calls
    torch.testing.assert_close(short.layers, full.layers, rtol=0, atol=0)


@pytest.mark.parametrize('layers', [[0], [4], [2, 1], [2, 2]], ids=str)
def test_wrong_layers_are_named(layers):
    model = build()
    with pytest.raises(ValueError, match='rising block numbers from 1 to 3'):
        model.encode(model.patchify(clip()), layers=layers)


@pytest.mark.parametrize(
    'args, error, words',
    [
        (dict(drop_path=0.1), TypeError, 'drop_path'),
        (dict(img_size=100), ValueError, 'multiple of patch_size=16'),
        (dict(num_frames=7), ValueError, 'tubelet_size=2'),
        (dict(num_heads=5), ValueError, 'num_heads=5 does not divide'),
        (dict(pos_embed_type='rope'), ValueError, 'sincos_1d'),
    ],
    ids=str,
)
def test_bad_arguments_are_named(args, error, words):
    with pytest.raises(error, match=words):
        build(**args)


@pytest.mark.parametrize(
    'shape, words',
    [
        (dict(height=60), 'cannot be cut into patches'),
        (dict(frames=7), 'tubelet_size'),
        (dict(channels=1), 'in_channels=3'),
    ],
    ids=str,
)
def test_bad_clips_are_named(shape, words):
    with pytest.raises(ValueError, match=words):
        build()(clip(**shape))


def test_drop_path_grows_linearly_with_depth():
    model = build(drop_path_rate=0.2, depth=3)
    rates = [getattr(b.drop_path, 'drop_prob', 0.0) for b in model.blocks]
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


def test_pretraining_goes_into_a_stock_recogniser(tmp_path):
    """`init_cfg` with a prefix, as any MMAction2 config does it."""
    donor = build(use_mean_pooling=False)
    path = tmp_path / 'amd.pth'
    state = {f'backbone.{k}': v for k, v in donor.state_dict().items()}
    torch.save(dict(state_dict=state), path)
    init = dict(type='Pretrained', checkpoint=str(path), prefix='backbone.')
    recogniser = MMACTION_MODELS.build(
        dict(
            type='mmaction.Recognizer3D',
            data_preprocessor=preprocessor(),
            backbone=dict(type='mmaction.VisionTransformer', **SIZES, init_cfg=init),
            cls_head=dict(
                type='mmaction.TimeSformerHead', num_classes=5, in_channels=48, average_clips='prob'
            ),
        )
    )
    recogniser.init_weights()
    for name, value in donor.blocks.state_dict().items():
        torch.testing.assert_close(recogniser.backbone.blocks.state_dict()[name], value)
