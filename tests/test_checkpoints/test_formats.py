"""Formats: recognised, complete, unambiguous, the same in both directions."""

import re

import pytest
import torch
from amd_mm.checkpoints import (
    FORMATS,
    CheckpointError,
    detect_format,
    from_amd_mm,
    to_amd_mm,
    unwrap,
)
from amd_mm.checkpoints.formats import match
from hypothesis import given, settings
from hypothesis import strategies as st

from ..golden import draw_state, load_golden
from .states import (
    decoder_shapes,
    encoder_shapes,
    fill,
    head_shapes,
    image_decoder_shapes,
    image_encoder_shapes,
    image_head_shapes,
    neck_shapes,
    projection_shapes,
)

# (format, golden file, list of names, prefix of the drawn names)
GOLDEN = [
    ('videomae_finetune', 'amd_video', 'teacher_names', 'teacher'),
    ('videomae_finetune', 'finetune_video', 'names', 'finetune'),
    ('huggingface', 'videomae_hf', 'names', 'hf'),
    ('huggingface', 'videomae_hf', 'cls_names', 'hf_cls'),
    ('dmae', 'dmae_image_released', 'student_names', 'student'),
    ('dmae', 'dmae_image_mlp_normpix', 'student_names', 'student'),
    ('mae', 'dmae_image_released', 'teacher_names', 'teacher'),
    ('mae', 'tinymim_image', 'student_names', 'student'),
]


def golden_state(file, names, prefix):
    return draw_state(load_golden(file)[names], prefix)


def assert_same(one, other):
    assert set(one) == set(other)
    for name in one:
        assert torch.equal(one[name], other[name]), name


@st.composite
def our_image_shapes(draw, fmt):
    """The same of an image ViT."""
    depth, width = draw(st.integers(1, 12)), 2 * draw(st.integers(1, 6))
    finetuned = fmt in ('mmpretrain', 'image_backbone') or (fmt == 'mae' and draw(st.booleans()))
    closing = draw(st.sampled_from(['ln1', 'ln2'])) if finetuned else 'ln1'
    shapes = image_encoder_shapes(depth, width, closing)
    if fmt == 'mmpretrain' or (fmt == 'mae' and finetuned):
        shapes |= image_head_shapes(draw(st.integers(1, 5)), width)
    elif fmt in ('mae', 'dmae') and (fmt == 'dmae' or draw(st.booleans())):
        shapes |= image_decoder_shapes(draw(st.integers(1, 3)), 4, width)
    if fmt == 'dmae':
        shapes |= projection_shapes(draw(st.integers(1, 3)), width, 6, draw(st.booleans()))
    return shapes


@st.composite
def our_states(draw, fmt):
    """What a model of ours that ``fmt`` can express may have."""
    if FORMATS[fmt].images:
        return fill(draw(our_image_shapes(fmt)))
    depth, width = draw(st.integers(1, 12)), 2 * draw(st.integers(1, 6))
    layer_scale = fmt != 'huggingface' and draw(st.booleans())
    finetuned = fmt in ('mmaction', 'timm_video', 'videomae_finetune', 'backbone') or (
        fmt == 'huggingface' and draw(st.booleans())
    )
    closing = draw(st.sampled_from(['norm', 'fc_norm'])) if finetuned else 'norm'
    shapes = encoder_shapes(depth, width, closing, layer_scale)
    if finetuned:
        if fmt != 'backbone':
            shapes |= head_shapes(draw(st.integers(1, 5)), width)
    else:
        shapes |= decoder_shapes(draw(st.integers(1, 3)), 4, width)
    if fmt in ('amd', 'amd_mm'):
        shapes |= neck_shapes(draw(st.integers(1, 3)), draw(st.integers(1, 2)), width, 6)
    return fill(shapes)


@pytest.mark.parametrize('fmt', FORMATS)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_round_trip_is_the_identity(fmt, data):
    ours = data.draw(our_states(fmt))
    theirs, dropped = from_amd_mm(ours, fmt)
    unwritten = [name for name in ours if fmt == 'amd' and re.search('generators.*mask_tok', name)]
    assert len(dropped) == len(unwritten)
    assert detect_format(theirs) == fmt
    back, unused = to_amd_mm(theirs)
    assert all(re.fullmatch(r'generators\.\d+\.norm\.(weight|bias)', name) for name in unused)
    expected = {name: one for name, one in ours.items() if name not in unwritten}
    if FORMATS[fmt].decoder_table and 'decoder.mask_token' in ours:
        expected['decoder.pos_embed'] = back['decoder.pos_embed']  # computed for their program
    assert_same(back, expected)
    assert_same(from_amd_mm(back, fmt).state, theirs)


@pytest.mark.parametrize('fmt, file, names, prefix', GOLDEN)
def test_public_names_are_recognised_and_come_back(fmt, file, names, prefix):
    public = golden_state(file, names, prefix)
    assert detect_format(public) == fmt
    ours, dropped = to_amd_mm(public)
    back, _ = from_amd_mm(ours, fmt)
    assert_same(back, {name: one for name, one in public.items() if name not in dropped})


def test_public_amd_files_are_written_as_the_public_program_loads_them():
    """Strictly: with the norms that it never uses, without the mask tokens that it never saves."""
    public = golden_state('amd_video', 'student_names', 'student')
    ours, unused = to_amd_mm(public)
    norms = {f'generators.{i}.norm.{p}' for i in (0, 1) for p in ('weight', 'bias')}
    assert set(unused) == norms and 'never uses' in unused['generators.0.norm.weight']
    back, unwritten = from_amd_mm(ours, 'amd')
    tokens = {f'generator_mask_tokens.{i}' for i in (0, 1)}
    assert set(unwritten) == tokens and 'plain list' in unwritten['generator_mask_tokens.0']
    assert set(back) == set(public) - tokens
    for i in (0, 1):
        assert torch.equal(back[f'generators.{i}.norm.weight'], torch.ones(64))
        assert torch.equal(back[f'generators.{i}.norm.bias'], torch.zeros(64))
    assert_same(
        {name: one for name, one in back.items() if name not in norms},
        {name: one for name, one in public.items() if name not in norms | tokens},
    )


def test_amd_student_lands_on_our_names():
    ours, _ = to_amd_mm(golden_state('amd_video', 'student_names', 'student'))
    for name in (
        'backbone.patch_embed.projection.weight',
        'backbone.blocks.3.mlp.layers.0.0.bias',
        'backbone.norm.weight',
        'decoder.embed.weight',
        'decoder.mask_token',
        'decoder.blocks.1.attn.qkv.weight',
        'decoder.head.bias',
        'neck.projections.1.weight',
        'neck.generators.0.mask_token',
        'neck.generators.1.blocks.0.mlp.layers.1.weight',
    ):
        assert name in ours
    assert {name.split('.')[0] for name in ours} == {'backbone', 'decoder', 'neck'}


@pytest.mark.parametrize('fmt', FORMATS)
def test_no_name_fits_two_rules(fmt):
    rules = FORMATS[fmt].rules
    numbers = dict(i='3', j='1', n='2', p='bias', rest='some.thing')
    for side in ('theirs', 'ours'):
        templates = [
            one for rule in rules for one in (rule.theirs if side == 'theirs' else (rule.ours,))
        ]
        for template in templates:
            name = template.format(**numbers)
            fitting = [one for one in templates if match(one, name) is not None]
            assert fitting == [template]


@pytest.mark.parametrize(
    'wrap',
    [
        lambda state: dict(state_dict=state, meta=dict(epoch=3)),
        lambda state: dict(model=state, optimizer=dict(state={}), epoch=1),
        lambda state: dict(module=state, ds_version='0.9'),
        lambda state: dict(epoch=1, model_ema=state),
        lambda state: {f'module.{name}': one for name, one in state.items()},
        lambda state: {f'_orig_mod.module.{name}': one for name, one in state.items()},
        lambda state: {f'model.{name}': one for name, one in state.items()},
        lambda state: {
            name.replace('blocks.0.', 'blocks.0._orig_mod.'): one for name, one in state.items()
        },
        lambda state: dict(
            ema_state_dict={
                'steps': torch.tensor(3),
                **{f'module.{name}': one for name, one in state.items()},
            }
        ),
    ],
)
def test_wrapping_is_taken_off(wrap):
    state = golden_state('finetune_video', 'names', 'finetune')
    assert_same(unwrap(wrap(state)), state)
    assert detect_format(wrap(state)) == 'videomae_finetune'


def test_mmengine_keeps_the_averaged_weights_as_state_dict():
    averaged, plain = dict(a=torch.ones(1)), dict(a=torch.zeros(1))
    taken = unwrap(dict(ema_state_dict=plain, state_dict=averaged))
    assert torch.equal(taken['a'], averaged['a'])


def test_video_mae_model_by_itself():
    """Transformers' VideoMAEModel saves without the prefix."""
    public = golden_state('videomae_hf', 'names', 'hf')
    bare = {
        name.removeprefix('videomae.'): tensor
        for name, tensor in public.items()
        if name.startswith('videomae.')
    }
    assert detect_format(bare) == 'huggingface'
    expected, _ = to_amd_mm(public)
    assert_same(
        to_amd_mm(bare).state,
        {name: tensor for name, tensor in expected.items() if name.startswith('backbone.')},
    )


def with_linear_biases(public, key_bias):
    """Hugging Face names with biases as those of linear layers."""
    renamed = {}
    for name, tensor in public.items():
        for short, long in (('q_bias', 'query.bias'), ('v_bias', 'value.bias')):
            name = name.replace(short, long)
        renamed[name] = tensor
        if name.endswith('query.bias'):
            renamed[name.replace('query', 'key')] = torch.full_like(tensor, key_bias)
    return renamed


def test_hugging_face_with_linear_biases():
    public = golden_state('videomae_hf', 'names', 'hf')
    ours, dropped = to_amd_mm(with_linear_biases(public, 0.0))
    assert_same(ours, to_amd_mm(public).state)
    assert len(dropped) == 6
    assert all(name.endswith('key.bias') for name in dropped)


def test_a_key_bias_is_an_error_that_names_it():
    public = golden_state('videomae_hf', 'names', 'hf')
    with pytest.raises(CheckpointError, match='key.bias is not all'):
        to_amd_mm(with_linear_biases(public, 0.1))


@pytest.mark.parametrize('other', ['projection_heads.{}.weight', 'projection_heads.{}'])
def test_other_spellings_of_amd_projections(other):
    public = golden_state('amd_video', 'student_names', 'student')
    renamed = {}
    for name, tensor in public.items():
        if 'projection_heads' in name:
            name = other.format(name.split('.')[2])
        renamed[name] = tensor
    assert detect_format(renamed) == 'amd'
    assert_same(to_amd_mm(renamed).state, to_amd_mm(public).state)
    twice = {**public, 'projection_heads.0': torch.ones(1)}
    with pytest.raises(CheckpointError, match='twice'):
        to_amd_mm(twice)


def test_an_unknown_file_shows_its_names_and_the_formats():
    with pytest.raises(CheckpointError) as error:
        detect_format({f'layer{i}.conv.weight': torch.ones(1) for i in range(20)})
    text = str(error.value)
    assert 'layer0.conv.weight' in text and '12 more' in text
    assert all(name in text for name in FORMATS)


def test_no_weights_at_all():
    with pytest.raises(CheckpointError, match='no weights.*epoch'):
        unwrap(dict(epoch=3, args='x'))


def test_image_vits_are_told_apart():
    state = golden_state('finetune_video', 'names', 'finetune')
    state['patch_embed.proj.weight'] = torch.ones(48, 3, 16, 16)
    assert detect_format(state) == 'mae'
    # But it is none: MAE has one bias of query, key and value.
    with pytest.raises(CheckpointError, match='attn.q_bias'):
        to_amd_mm(state)


def test_the_other_kind_is_refused_by_name():
    image = golden_state('tinymim_image', 'student_names', 'student')
    video = golden_state('finetune_video', 'names', 'finetune')
    for state, wrong, right, message in (
        (image, 'videomae_finetune', 'mae', 'an image ViT.*is for video'),
        (video, 'mae', 'videomae_finetune', 'a video ViT.*is for images'),
    ):
        for convert in (to_amd_mm, lambda one, fmt: from_amd_mm(to_amd_mm(one).state, fmt)):
            with pytest.raises(CheckpointError, match=message) as error:
                convert(state, wrong)
            assert right in str(error.value)


def test_unknown_parts_of_the_encoder_are_errors():
    state = golden_state('finetune_video', 'names', 'finetune')
    state['blocks.0.attn.relative_position_bias_table'] = torch.ones(3)
    with pytest.raises(CheckpointError, match='relative_position'):
        to_amd_mm(state)


def test_unknown_parts_elsewhere_are_reported():
    state = golden_state('finetune_video', 'names', 'finetune')
    state['extra_head.weight'] = torch.ones(3)
    _, dropped = to_amd_mm(state)
    assert dropped == {'extra_head.weight': 'has no counterpart here'}


def test_half_of_a_fused_weight_is_an_error():
    state = golden_state('videomae_hf', 'names', 'hf')
    name = 'videomae.encoder.layer.2.attention.attention.key.weight'
    del state[name]
    with pytest.raises(CheckpointError, match=f'lacks {name}'):
        to_amd_mm(state)


def test_writing_drops_the_rest_with_a_reason():
    ours, _ = to_amd_mm(golden_state('amd_video', 'student_names', 'student'))
    state, dropped = from_amd_mm(ours, 'videomae')
    assert detect_format(state) == 'videomae'
    assert {name.split('.')[0] for name in dropped} == {'neck'}
    state, dropped = from_amd_mm(ours, 'mmaction')
    assert all(name.startswith('backbone.') for name in state)


def test_writing_never_drops_a_part_of_the_encoder():
    ours = fill(encoder_shapes(2, 8, 'fc_norm'))
    with pytest.raises(CheckpointError, match='backbone.fc_norm.weight'):
        from_amd_mm(ours, 'videomae')
    ours = fill(encoder_shapes(2, 8, layer_scale=True))
    with pytest.raises(CheckpointError, match='gamma_1'):
        from_amd_mm(ours, 'huggingface')


def test_fixed_tables_stay_where_they_are_computed():
    from mmaction.models.backbones.vit_mae import get_sinusoid_encoding

    ours = fill(encoder_shapes(2, 8))
    ours['backbone.pos_embed'] = get_sinusoid_encoding(12, 8)
    state, dropped = from_amd_mm(ours, 'videomae')
    assert 'encoder.pos_embed' not in state
    assert 'backbone.pos_embed' in dropped
    assert 'backbone.pos_embed' in from_amd_mm(ours, 'mmaction').state
    ours['backbone.pos_embed'] = torch.randn(1, 12, 8)  # a learned one
    assert 'encoder.pos_embed' in from_amd_mm(ours, 'videomae').state
    with pytest.raises(CheckpointError, match='backbone.pos_embed'):
        from_amd_mm(ours, 'huggingface')


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_fixed_tables_are_known_in_half_precision(dtype):
    from mmaction.models.backbones.vit_mae import get_sinusoid_encoding

    ours = fill(encoder_shapes(2, 384))
    ours['backbone.pos_embed'] = get_sinusoid_encoding(1568, 384)
    ours = {name: tensor.to(dtype) for name, tensor in ours.items()}
    _, dropped = from_amd_mm(ours, 'huggingface')
    assert 'backbone.pos_embed' in dropped
    # Far less than what is learned.
    ours['backbone.pos_embed'] = ours['backbone.pos_embed'] + 0.02
    with pytest.raises(CheckpointError, match='backbone.pos_embed'):
        from_amd_mm(ours, 'huggingface')


def test_unknown_format_name():
    with pytest.raises(CheckpointError, match="'timm' is not a checkpoint format"):
        from_amd_mm({}, 'timm')
