"""The strict loader: all weights or none, and every exception is reported."""

import logging

import pytest
import torch
import torch.nn.functional as F
from amd_mm.checkpoints import (
    CheckpointError,
    CheckpointMismatchError,
    from_amd_mm,
    load_encoder,
    load_into,
    to_amd_mm,
)
from amd_mm.checkpoints.load import OWN_NAMES
from amd_mm.models.backbones import VideoVisionTransformer
from amd_mm.registry import MODELS
from mmaction.models.backbones.vit_mae import VisionTransformer
from mmaction.models.heads import TimeSformerHead
from torch import nn

from ..tiny import amd
from ..tiny_image import dmae, mae
from . import states

SMALL = dict(img_size=32, patch_size=8, embed_dims=12, depth=3, num_heads=3, num_frames=4)


def backbone(cls=VideoVisionTransformer, **changes):
    return cls(**{**SMALL, 'use_mean_pooling': False, **changes})


def weights(module, prefix='backbone.'):
    """A copy of a module's state in our names."""
    return {prefix + name: tensor.clone() for name, tensor in module.state_dict().items()}


class Recogniser(nn.Module):
    def __init__(self, classes=5, **changes):
        super().__init__()
        self.backbone = backbone(use_mean_pooling=True, **changes)
        self.cls_head = TimeSformerHead(classes, SMALL['embed_dims'])


def assert_equal_states(one, other):
    one, other = one.state_dict(), other.state_dict()
    assert set(one) == set(other)
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize('cls', [VideoVisionTransformer, VisionTransformer])
@pytest.mark.parametrize(
    'fmt', ['amd_mm', 'videomae', 'videomae_finetune', 'huggingface', 'mmaction', 'backbone']
)
def test_a_backbone_from_every_format(cls, fmt):
    source, target = backbone(VideoVisionTransformer), backbone(cls)
    state = weights(source)
    if fmt == 'mmaction':
        state['cls_head.fc_cls.weight'] = torch.ones(5, 12)
    report = load_encoder(target, from_amd_mm(state, fmt).state, logger=None)
    assert_equal_states(source, target)
    assert report.fmt == fmt
    assert not report.missing
    assert set(report.loaded) == {name for name, _ in target.named_parameters()}
    assert report.unexpected == (['cls_head.fc_cls.weight'] if fmt == 'mmaction' else [])


def test_a_path_and_a_whole_recogniser(tmp_path):
    source, target = Recogniser(), Recogniser()
    torch.save(dict(state_dict=source.state_dict()), tmp_path / 'r.pth')
    report = load_into(target, tmp_path / 'r.pth', logger=None)
    assert_equal_states(source, target)
    assert report.fmt == OWN_NAMES
    first, loaded = str(report).splitlines()
    assert first == f'{tmp_path}/r.pth ({OWN_NAMES}) -> Recogniser'
    assert 'loaded' in loaded and 'backbone.blocks.{0-2}' in loaded


def test_a_missing_weight_is_named_and_nothing_is_loaded():
    source, target = backbone(), backbone()
    before = weights(target, '')
    state = weights(source)
    del state['backbone.blocks.1.attn.q_bias']
    with pytest.raises(CheckpointMismatchError) as error:
        load_encoder(target, state, logger=None)
    assert error.value.missing == ('blocks.1.attn.q_bias',)
    assert 'missing in the file (1): blocks.1.attn.q_bias' in str(error.value)
    assert 'allow_missing' not in str(error.value)
    after = target.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_wrong_width_names_the_first_weights_and_both_shapes():
    with pytest.raises(CheckpointMismatchError) as error:
        load_encoder(backbone(), weights(backbone(embed_dims=24)), logger=None)
    text = str(error.value)
    for line in (
        'of another shape (43):',
        'patch_embed.projection.weight: file (24, 3, 2, 8, 8), model (12, 3, 2, 8, 8)',
        'blocks.{0-2}.norm1.weight: file (24,), model (12,)',
        'and 35 more',
        'The file has ViT: 3 blocks, 24 wide, patch 2x8x8, 3 channels, 32 tokens; '
        'the model ViT: 3 blocks, 12 wide, patch 2x8x8, 3 channels, 32 tokens.',
        'embed_dims',
    ):
        assert line in text
    expected = {name for name, _ in backbone().named_parameters()}
    assert set(error.value.mismatched) == expected
    assert error.value.mismatched['norm.bias'] == ((24,), (12,))


def test_a_deeper_file():
    with pytest.raises(CheckpointMismatchError) as error:
        load_encoder(backbone(), weights(backbone(depth=5)), logger=None)
    assert 'not in the model (26): blocks.{3-4}.norm1.weight' in str(error.value)
    assert "set the model's embed_dims, depth" in str(error.value)
    assert 'blocks.3.norm1.bias' in error.value.unexpected


def test_closing_norms():
    """`norm` before, `fc_norm` after fine-tuning."""
    finetuned, pretrained = backbone(use_mean_pooling=True), backbone()
    with pytest.raises(CheckpointMismatchError) as error:
        load_encoder(pretrained, weights(finetuned), logger=None)
    assert error.value.missing == ('norm.weight', 'norm.bias')
    assert "allow_missing=('norm',)" in str(error.value)
    for allowed in ('norm', 'norm.*'):
        report = load_encoder(pretrained, weights(finetuned), allow_missing=(allowed,), logger=None)
        assert report.missing == ['norm.weight', 'norm.bias']
        assert report.unexpected == ['fc_norm.weight', 'fc_norm.bias']
    report = load_encoder(finetuned, weights(pretrained), allow_missing=('fc_norm',), logger=None)
    assert report.missing == ['fc_norm.weight', 'fc_norm.bias']


def test_unknown_weights_inside_the_encoder_fail():
    state = weights(backbone(init_values=0.1))
    with pytest.raises(CheckpointMismatchError, match='gamma_1') as error:
        load_encoder(backbone(), state, logger=None)
    assert 'not in the model (6): blocks.{0-2}.gamma_1, blocks.{0-2}.gamma_2' in str(error.value)


def test_rotary_positions_are_no_table():
    state = states.fill(states.rotary_encoder(3, 12))
    for fmt in ('vjepa2', 'vjepa2_huggingface', 'amd_mm'):
        given = from_amd_mm(state, fmt).state
        with pytest.raises(CheckpointMismatchError, match="V-JEPA 2 .*type='rope_3d'"):
            load_encoder(backbone(patch_size=4), given, logger=None)
        rotary = backbone(patch_size=4, num_heads=1, pos_embed_type='rope_3d')
        assert len(load_encoder(rotary, given, logger=None).loaded) == len(state)
        torch.testing.assert_close(
            {f'backbone.{name}': one for name, one in rotary.state_dict().items()}, state
        )
    with pytest.raises(CheckpointMismatchError, match='without rotary positions .* Leave out'):
        load_encoder(rotary, weights(backbone(patch_size=4)), logger=None)
    given = from_amd_mm(state, 'vjepa2').state  # of another ViT, as the message says
    state = to_amd_mm(
        {name.removeprefix('backbone.'): one for name, one in given.items()}, 'timm_video'
    )
    assert not load_encoder(backbone(patch_size=4), state.state, logger=None).missing


def test_a_file_for_something_else():
    state = {
        name: tensor
        for name, tensor in Recogniser().state_dict().items()
        if 'patch_embed' in name or 'cls_head' in name
    }
    with pytest.raises(CheckpointError, match='holds nothing for'):
        load_into(nn.Sequential(), state, prefix='neck.', logger=None)


def test_fixed_tables(caplog):
    """The model's is kept; one of another grid in the file is a warning."""
    logger = logging.getLogger('test_load')
    target = backbone()
    table = target.pos_embed.clone()
    state = weights(backbone())
    del state['backbone.pos_embed']
    for given, other in (
        (state, None),
        (weights(backbone()), None),
        (weights(backbone(img_size=48, num_frames=8)), '(1, 144, 12)'),
    ):
        caplog.clear()
        with caplog.at_level(logging.INFO, logger='test_load'):
            report = load_encoder(target, given, logger=logger)
        assert torch.equal(target.pos_embed, table) and not report.missing
        assert [one.levelname for one in caplog.records] == ['WARNING' if other else 'INFO']
        assert other is None or other in report.recomputed['pos_embed']
        assert other or not report.recomputed


@pytest.mark.parametrize('grid', [{}, dict(img_size=48, num_frames=8), dict(img_size=(32, 64))])
def test_a_fixed_table_of_another_kind_does_not_fit(grid):
    """The weights were trained with its positions: any other table gives wrong features."""
    for ours, theirs in (('sincos_1d', 'sincos_3d'), ('sincos_3d', 'sincos_1d')):
        target, state = backbone(pos_embed_type=ours), weights(backbone(pos_embed_type=theirs))
        state |= weights(backbone(pos_embed_type=theirs, **grid))
        with pytest.raises(CheckpointMismatchError) as error:
            load_encoder(target, state, logger=None)
        if grid != dict(img_size=(32, 64)):  # not square: its kind is found for the model's grid
            assert f'{theirs} position table in the file, {ours} in the model' in str(error.value)
            assert f"pos_embed_type='{theirs}'" in str(error.value)
        report = load_encoder(target, state, allow_missing=('pos_embed',), logger=None)
        assert list(report.recomputed) == ['pos_embed']


@pytest.mark.parametrize('cls', [VideoVisionTransformer, VisionTransformer])
def test_a_learned_table_never_makes_way_for_a_fixed_one(cls):
    source = backbone(use_learnable_pos_emb=True)
    target = backbone(cls)
    with pytest.raises(CheckpointMismatchError) as error:
        load_encoder(target, weights(source), logger=None)
    assert 'learned position table' in str(error.value)
    assert 'use_learnable_pos_emb=True' in str(error.value)
    report = load_encoder(target, weights(source), allow_missing=('pos_embed',), logger=None)
    assert list(report.recomputed) == ['pos_embed']
    learning = backbone(cls, use_learnable_pos_emb=True)
    load_encoder(learning, weights(source), logger=None)
    assert torch.equal(learning.pos_embed, source.pos_embed)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('kind', ['sincos_1d', 'sincos_3d'])
def test_half_precision_is_no_other_table(dtype, kind):
    state = {
        name: tensor.to(dtype) for name, tensor in weights(backbone(pos_embed_type=kind)).items()
    }
    same = load_encoder(backbone(pos_embed_type=kind), state, logger=None)
    assert not same.recomputed
    if kind == 'sincos_3d':
        with pytest.raises(CheckpointMismatchError, match='sincos_3d position table'):
            load_encoder(backbone(), state, logger=None)


@pytest.mark.parametrize('cls', [VideoVisionTransformer, VisionTransformer])
@pytest.mark.parametrize(
    'changes, old, new',
    [
        (dict(img_size=48), (2, 4, 4), (2, 6, 6)),
        (dict(num_frames=8), (2, 4, 4), (4, 4, 4)),
        (dict(img_size=48, num_frames=8), None, None),  # both at once: the grid is not known
    ],
)
def test_a_learned_table_is_resampled(cls, changes, old, new):
    source = backbone(use_learnable_pos_emb=True)
    target = backbone(cls, use_learnable_pos_emb=True, **changes)
    state = weights(source)
    if old is None:
        with pytest.raises(CheckpointMismatchError, match='pos_embed') as error:
            load_encoder(target, state, logger=None)
        for part in ('3 channels, 32 tokens; the model', '3 channels, 144 tokens.', 'num_frames'):
            assert part in str(error.value)
        return
    report = load_encoder(target, state, logger=None)
    assert report.recomputed == {'pos_embed': f'resampled from {old} to {new} tokens'}
    # A constant stays constant.
    state['backbone.pos_embed'] = torch.full((1, 32, 12), 0.5)
    load_encoder(target, state, logger=None)
    torch.testing.assert_close(target.pos_embed.data, torch.full(target.pos_embed.shape, 0.5))


def test_precision_is_that_of_the_module():
    source, target = backbone(), backbone().bfloat16()
    load_encoder(target, weights(source), logger=None)
    assert target.norm.weight.dtype == torch.bfloat16
    torch.testing.assert_close(
        target.blocks[0].attn.qkv.weight, source.blocks[0].attn.qkv.weight.bfloat16()
    )


@pytest.fixture(scope='module')
def amd_state():
    """A tiny AMD model and its weights, in the names of the public program."""
    model = MODELS.build(amd())
    return model, from_amd_mm(model.state_dict(), 'amd').state


def test_a_public_amd_file_lacks_exactly_the_mask_tokens(amd_state):
    model, state = amd_state
    lacking = tuple(f'neck.generators.{i}.mask_token' for i in (0, 1))
    with pytest.raises(CheckpointMismatchError) as error:
        load_into(model, state, logger=None)
    assert error.value.missing == lacking
    allowed = ('neck.generators.*.mask_token',)
    assert f'allow_missing={allowed}' in str(error.value)
    report = load_into(model, state, allow_missing=allowed, logger=None)
    assert report.missing == list(lacking)


def test_the_remedy_permits_what_is_missing_and_no_more(amd_state):
    model, _ = amd_state
    state = model.state_dict()
    for gone, allowed in (
        ('neck', ('neck',)),
        ('neck.generators.0', ('neck.generators.*',)),
        ('neck.projections', ('neck.projections',)),
        ('decoder.mask_token', ('decoder.mask_token',)),
    ):
        kept = {name: one for name, one in state.items() if not name.startswith(gone)}
        with pytest.raises(CheckpointMismatchError) as error:
            load_into(model, kept, logger=None)
        assert f'allow_missing={allowed}' in str(error.value)
        load_into(model, kept, allow_missing=allowed, logger=None)
    with pytest.raises(CheckpointMismatchError) as error:
        load_into(model, kept, remedy='Ask somebody.', logger=None)
    assert str(error.value).endswith('\nAsk somebody.') and 'allow_missing' not in str(error.value)


@pytest.mark.parametrize('cfg, fmt', [(dmae(), 'dmae'), (mae(), 'mae'), (amd(), 'videomae')])
def test_a_learned_table_of_a_decoder_is_not_lost_silently(cfg, fmt, caplog):
    """Decoders compute a fixed table of their own."""
    model = MODELS.build(cfg)
    state = from_amd_mm(model.state_dict(), fmt).state
    name = 'pos_embed' if fmt == 'videomae' else 'decoder_pos_embed'
    table = model.decoder.pos_embed
    if fmt != 'videomae':  # after a class token
        table = F.pad(table, (0, 0, 1, 0))
        torch.testing.assert_close(state[name], table)
    options = dict(allow_missing=('neck',), fmt=fmt)
    for kind in (torch.float32, torch.float16):
        report = load_into(model, state | {name: table.to(kind)}, logger='silent', **options)
        assert report.recomputed == {'decoder.pos_embed': 'the model computes the same'}
    learned = state | {name: table + 0.1 * torch.randn(table.shape)}
    with pytest.raises(CheckpointMismatchError, match='learned position table') as error:
        load_into(model, learned, logger='silent', **options)
    assert "allow_missing=('decoder.pos_embed',)" in str(error.value)
    options['allow_missing'] += ('decoder.pos_embed',)
    logger = logging.getLogger('test_load')
    report = load_into(model, learned, logger=logger, **options)
    assert "kept the model's fixed table" in report.recomputed['decoder.pos_embed']
    assert [one.levelname for one in caplog.records] == ['WARNING']
    # A bare backbone or a recogniser has no decoder.
    report = load_encoder(model.backbone, learned, logger='silent')
    assert 'decoder.pos_embed' in report.unexpected
