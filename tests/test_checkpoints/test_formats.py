"""Formats: recognised, complete, unambiguous, the same in both directions."""

import re

import pytest
import torch
from amd_mm.checkpoints import (
    FORMATS,
    CheckpointError,
    detect_format,
    from_amd_mm,
    infer_backbone,
    to_amd_mm,
    unwrap,
)
from amd_mm.checkpoints.formats import match
from amd_mm.models.utils import position_table
from hypothesis import given, settings
from hypothesis import strategies as st
from mmaction.models.backbones.vit_mae import get_sinusoid_encoding

from ..golden import draw_state, load_golden
from . import states

# (format, golden file, list of names, prefix of the drawn names); see also the test of AMD
GOLDEN = [
    ('videomae_finetune', 'amd_video', 'teacher_names', 'teacher'),
    ('videomae_finetune', 'finetune_video', 'names', 'finetune'),
    ('huggingface', 'videomae_hf', 'names', 'hf'),
    ('huggingface', 'videomae_hf', 'cls_names', 'hf_cls'),
    ('dmae', 'dmae_image_released', 'student_names', 'student'),
    ('dmae', 'dmae_image_mlp_normpix', 'student_names', 'student'),
    ('mae', 'dmae_image_released', 'teacher_names', 'teacher'),
    ('mae', 'tinymim_image', 'student_names', 'student'),
    ('mvd', 'mvd_video', 'student_names', 'student'),
    ('vjepa2_huggingface', 'vjepa2_encoder', 'names', 'vjepa2'),
]


def golden_state(file, names, prefix):
    return draw_state(load_golden(file)[names], prefix)


@pytest.fixture
def finetuned():
    return golden_state('finetune_video', 'names', 'finetune')


@pytest.fixture
def hugging_face():
    return golden_state('videomae_hf', 'names', 'hf')


@pytest.fixture
def amd():
    return golden_state('amd_video', 'student_names', 'student')


@pytest.fixture
def image():
    return golden_state('tinymim_image', 'student_names', 'student')


def assert_same(one, other):
    assert set(one) == set(other)
    for name in one:
        assert torch.equal(one[name], other[name]), name


def our_image_shapes(draw, fmt):
    depth, width = draw(st.integers(1, 12)), 2 * draw(st.integers(1, 6))
    finetuned = fmt in ('mmpretrain', 'image_backbone') or (fmt == 'mae' and draw(st.booleans()))
    norm = draw(st.sampled_from(['ln1', 'ln2'])) if finetuned else 'ln1'
    shapes = states.image_encoder(depth, width, norm)
    if fmt == 'mmpretrain' or (fmt == 'mae' and finetuned):
        shapes |= states.head(draw(st.integers(1, 5)), width, images=True)
    elif fmt in ('mae', 'dmae') and (fmt == 'dmae' or draw(st.booleans())):
        shapes |= states.decoder(draw(st.integers(1, 3)), 4, width, images=True)
    if fmt == 'dmae':
        shapes |= states.projections(draw(st.integers(1, 3)), width, 6, draw(st.booleans()))
    return shapes


@st.composite
def our_states(draw, fmt):
    """Weights of ours that ``fmt`` has names for."""
    if FORMATS[fmt].images:
        return states.fill(our_image_shapes(draw, fmt))
    depth, width = draw(st.integers(1, 12)), 2 * draw(st.integers(1, 6))
    if fmt in ('vjepa2', 'vjepa2_huggingface'):
        return states.fill(states.rotary_encoder(depth, width))
    if fmt == 'mvd':
        return states.fill(states.encoder(depth, width) | states.mvd_decoders(width, 6))
    if fmt == 'mvd_finetune':
        ours = states.fill(states.encoder(depth, 16, 'fc_norm') | states.head(3, 16))
        table = position_table((8, 56, 56), 16, 'sincos_3d_mvd')
        return ours | {'backbone.pos_embed': table}
    layer_scale = fmt != 'huggingface' and draw(st.booleans())
    finetuned = fmt in ('mmaction', 'timm_video', 'videomae_finetune', 'backbone') or (
        fmt == 'huggingface' and draw(st.booleans())
    )
    norm = draw(st.sampled_from(['norm', 'fc_norm'])) if finetuned else 'norm'
    shapes = states.encoder(depth, width, norm, layer_scale)
    if not finetuned:
        shapes |= states.decoder(draw(st.integers(1, 3)), 4, width)
    elif fmt != 'backbone':
        shapes |= states.head(draw(st.integers(1, 5)), width)
    if fmt == 'timm_video':
        shapes['backbone.pos_embed'] = (1, 5, width)
    if fmt in ('amd', 'amd_mm'):
        shapes |= states.neck(draw(st.integers(1, 3)), draw(st.integers(1, 2)), width, 6)
    return states.fill(shapes)


@pytest.mark.parametrize('fmt', FORMATS)
@settings(max_examples=10)
@given(data=st.data())
def test_round_trip_is_the_identity(fmt, data):
    ours = data.draw(our_states(fmt))
    theirs, dropped = from_amd_mm(ours, fmt)
    unwritten = [name for name in ours if fmt == 'amd' and re.search('generators.*mask_tok', name)]
    assert len(dropped) == len(unwritten) + (fmt == 'mvd_finetune')  # its table
    assert detect_format(theirs) == ('videomae_finetune' if fmt == 'mvd_finetune' else fmt)
    back, unused = to_amd_mm(theirs, fmt)
    assert all(re.fullmatch(r'generators\.\d+\.norm\.(weight|bias)', name) for name in unused)
    expected = {name: one for name, one in ours.items() if name not in unwritten}
    for name in back:  # tables of decoders are computed for their program
        if name.endswith('decoder.pos_embed') and FORMATS[fmt].tables:
            expected[name] = back[name]
    assert_same(back, expected)
    assert_same(from_amd_mm(back, fmt).state, theirs)


@pytest.mark.parametrize('fmt, file, names, prefix', GOLDEN)
def test_public_names_are_recognised_and_come_back(fmt, file, names, prefix):
    public = golden_state(file, names, prefix)
    assert detect_format(public) == fmt
    ours, dropped = to_amd_mm(public)
    back, _ = from_amd_mm(ours, fmt)
    assert_same(back, {name: one for name, one in public.items() if name not in dropped})


def test_public_amd_files_are_written_as_the_public_program_loads_them(amd):
    """Strictly: with the norms that it never uses, without the mask tokens that it never saves."""
    assert detect_format(amd) == 'amd'
    ours, unused = to_amd_mm(amd)
    assert {name.split('.')[0] for name in ours} == {'backbone', 'decoder', 'neck'}
    norms = {f'generators.{i}.norm.{p}' for i in (0, 1) for p in ('weight', 'bias')}
    assert set(unused) == norms and 'never uses' in unused['generators.0.norm.weight']
    back, unwritten = from_amd_mm(ours, 'amd')
    tokens = {f'generator_mask_tokens.{i}' for i in (0, 1)}
    assert set(unwritten) == tokens and 'plain list' in unwritten['generator_mask_tokens.0']
    identity = {
        name: torch.ones(64) if name.endswith('weight') else torch.zeros(64) for name in norms
    }
    rest = {name: one for name, one in amd.items() if name not in norms | tokens}
    assert_same(back, rest | identity)


@pytest.mark.parametrize('fmt', FORMATS)
def test_no_name_fits_two_rules(fmt):
    numbers = dict(i='3', j='1', n='2', p='bias', rest='some.thing')
    rules = FORMATS[fmt].rules
    for templates in (
        [one for rule in rules for one in rule.theirs if one],
        [one for rule in rules for one in rule.ours if one],
    ):
        for template in templates:
            name = template.format(**numbers)
            assert [one for one in templates if match(one, name) is not None] == [template]


@pytest.mark.parametrize(
    'wrap',
    [
        lambda state: dict(state_dict=state, meta=dict(epoch=3)),
        lambda state: dict(model=state, optimizer=dict(state={}), epoch=1),
        lambda state: dict(module=state, ds_version='0.9'),
        lambda state: dict(epoch=1, model_ema=state),
        lambda state: dict(ema_state_dict=dict(a=torch.zeros(1)), state_dict=state),  # EMAHook
        lambda state: {f'module.{name}': one for name, one in state.items()},
        lambda state: {f'_orig_mod.module.{name}': one for name, one in state.items()},
        lambda state: {f'module.module._orig_mod.{name}': one for name, one in state.items()},
        lambda state: {f'model.module.{name}': one for name, one in state.items()},
        lambda state: {f'model.{name}': one for name, one in state.items()},
        lambda state: {
            name.replace('blocks.0.', 'blocks.0._orig_mod.'): one for name, one in state.items()
        },
        lambda state: {
            name.replace('blocks.', 'blocks.module._fsdp_wrapped_module.'): one
            for name, one in state.items()
        },
        lambda state: dict(
            ema_state_dict={'steps': torch.tensor(3)}
            | {f'module.{name}': one for name, one in state.items()}
        ),
    ],
)
def test_weights_are_found_in_wrappers(wrap, finetuned, image):
    for state, fmt in ((finetuned, 'videomae_finetune'), (image, 'mae')):
        assert_same(unwrap(wrap(state)), state)
        assert detect_format(wrap(state)) == fmt


def test_a_bare_videomae_model_of_transformers(hugging_face):
    """It is saved without the prefix of the models around it."""
    bare = {
        name.removeprefix('videomae.'): tensor
        for name, tensor in hugging_face.items()
        if name.startswith('videomae.')
    }
    assert detect_format(bare) == 'huggingface'
    expected = to_amd_mm(hugging_face).state
    assert_same(
        to_amd_mm(bare).state,
        {name: one for name, one in expected.items() if name.startswith('backbone.')},
    )


def test_hugging_face_with_biases_of_linear_layers(hugging_face):
    renamed, keys = {}, {}
    for name, tensor in hugging_face.items():
        name = name.replace('q_bias', 'query.bias').replace('v_bias', 'value.bias')
        renamed[name] = tensor
        if name.endswith('query.bias'):
            keys[name.replace('query', 'key')] = torch.zeros_like(tensor)
    ours, dropped = to_amd_mm(renamed | keys)
    assert_same(ours, to_amd_mm(hugging_face).state)
    assert set(dropped) == set(keys) and len(keys) == 6
    of_any_value = {name: one + 0.1 for name, one in keys.items()}
    assert_same(to_amd_mm(renamed | of_any_value).state, ours)


def test_tables_of_mvd():
    """Its pre-training files hold three; its fine-tuned files none, so they must be named."""
    grid, kind = (8, 3, 3), 'sincos_3d_mvd'
    ours = states.fill(states.encoder(2, 48) | states.mvd_decoders(48, 32, width=16))
    ours['backbone.pos_embed'] = position_table(grid, 48, kind)
    theirs = from_amd_mm(ours, 'mvd').state
    for short in ('img', 'vid'):
        torch.testing.assert_close(theirs[f'pos_embed_{short}'], position_table(grid, 16, kind))
    assert torch.equal(to_amd_mm(theirs).state['backbone.pos_embed'], ours['backbone.pos_embed'])
    finetuned = states.fill(states.encoder(2, 48, 'fc_norm'))
    finetuned['backbone.patch_embed.projection.weight'] = torch.zeros(48, 3, 2, 16, 16)
    public = from_amd_mm(finetuned, 'videomae_finetune').state
    assert 'backbone.pos_embed' not in to_amd_mm(public).state
    table = to_amd_mm(public, 'mvd_finetune').state['backbone.pos_embed']
    assert torch.equal(table, position_table((8, 14, 14), 48, kind))
    cfg = infer_backbone(finetuned | {'backbone.pos_embed': table}, heads=3)
    assert (cfg['pos_embed_type'], cfg['num_frames'], cfg['img_size']) == (kind, 16, 224)
    other = finetuned | {'backbone.pos_embed': position_table((8, 14, 14), 48)}
    with pytest.raises(CheckpointError, match='no name.*backbone.pos_embed'):
        from_amd_mm(other, 'mvd_finetune')


@pytest.fixture
def vjepa2():
    """In the names of transformers."""
    return golden_state('vjepa2_encoder', 'names', 'vjepa2')


def test_files_of_v_jepa_2(vjepa2):
    ours, _ = to_amd_mm(vjepa2)
    name = 'encoder.layer.1.attention.key.bias'
    assert torch.equal(ours['backbone.blocks.1.attn.qkv.bias'][48:96], vjepa2[name])
    bare = {
        name.removeprefix('backbone.'): one
        for name, one in from_amd_mm(ours, 'vjepa2').state.items()
    }
    other = {name: one + 1 for name, one in bare.items()}
    file, online = (
        {f'module.backbone.{name}': one for name, one in state.items()} for state in (bare, other)
    )
    heads = {'predictor.layernorm.bias': torch.ones(4), 'pooler.x': torch.ones(1)}
    for content, fmt in (
        (bare, 'vjepa2'),
        (dict(encoder=online, target_encoder=file, predictor=other, epoch=3), 'vjepa2'),
        (dict(encoder=online, ema_encoder=file), 'vjepa2'),
        (dict(encoder=file), 'vjepa2'),
        (vjepa2 | heads, 'vjepa2_huggingface'),
        ({f'vjepa2.{name}': one for name, one in vjepa2.items()} | heads, 'vjepa2_huggingface'),
    ):
        assert detect_format(content) == fmt
        found, dropped = to_amd_mm(content)
        assert_same(found, ours)
        assert set(dropped) == (set(heads) if 'hugging' in fmt else set())
    _, dropped = to_amd_mm(dict(encoder=file | {'module.backbone.pos_embed': torch.ones(1, 4, 48)}))
    assert 'V-JEPA 1' in dropped['backbone.pos_embed']
    with pytest.raises(CheckpointError, match='video_mod_embed'):  # of V-JEPA 2.1
        to_amd_mm(bare | {'video_mod_embed': torch.ones(1, 1, 48)})
    for fmt in ('timm_video', 'videomae'):
        with pytest.raises(CheckpointError, match='backbone.blocks.0.attn.qkv.bias'):
            from_amd_mm(ours, fmt)
    with pytest.raises(CheckpointError, match='no rotary positions'):
        from_amd_mm(ours, 'mmaction')


@pytest.mark.parametrize('other', ['projection_heads.{}.weight', 'projection_heads.{}'])
def test_other_spellings_of_amd_projections(amd, other):
    renamed = {
        other.format(name.split('.')[2]) if 'projection_heads' in name else name: tensor
        for name, tensor in amd.items()
    }
    assert detect_format(renamed) == 'amd'
    assert_same(to_amd_mm(renamed).state, to_amd_mm(amd).state)
    with pytest.raises(CheckpointError, match='twice'):
        to_amd_mm(amd | {'projection_heads.0': torch.ones(1)})


def test_unknown_files():
    with pytest.raises(CheckpointError) as error:
        detect_format({f'layer{i}.conv.weight': torch.ones(1) for i in range(20)})
    text = str(error.value)
    assert 'layer0.conv.weight' in text and '12 more' in text
    assert all(name in text for name in FORMATS)
    with pytest.raises(CheckpointError, match='no weights.*epoch'):
        unwrap(dict(epoch=3, args='x'))
    with pytest.raises(CheckpointError, match="'timm' is not a checkpoint format"):
        from_amd_mm({}, 'timm')


def test_image_and_video_vits(finetuned, image):
    for state, wrong, right, message in (
        (image, 'videomae_finetune', 'mae', 'an image ViT.*is for video'),
        (finetuned, 'mae', 'videomae_finetune', 'a video ViT.*is for images'),
    ):
        for convert in (to_amd_mm, lambda one, fmt: from_amd_mm(to_amd_mm(one).state, fmt)):
            with pytest.raises(CheckpointError, match=f'{message}(.|\n)*{right}'):
                convert(state, wrong)
    finetuned['patch_embed.proj.weight'] = torch.ones(48, 3, 16, 16)
    assert detect_format(finetuned) == 'mae'
    with pytest.raises(CheckpointError, match='attn.q_bias'):  # MAE has one bias for all three
        to_amd_mm(finetuned)


def test_unknown_weights_are_errors_in_the_encoder_and_reported_elsewhere(finetuned, hugging_face):
    _, dropped = to_amd_mm(finetuned | {'extra_head.weight': torch.ones(3)})
    assert dropped == {'extra_head.weight': 'has no counterpart here'}
    with pytest.raises(CheckpointError, match='relative_position'):
        to_amd_mm(finetuned | {'blocks.0.attn.relative_position_bias_table': torch.ones(3)})
    name = 'videomae.encoder.layer.2.attention.attention.key.weight'
    del hugging_face[name]  # a third of our tensor
    with pytest.raises(CheckpointError, match=f'lacks {name}'):
        to_amd_mm(hugging_face)


def test_writing_drops_other_parts_with_a_reason_but_never_the_encoder(amd):
    ours, _ = to_amd_mm(amd)
    state, dropped = from_amd_mm(ours, 'videomae')
    assert detect_format(state) == 'videomae'
    assert {name.split('.')[0] for name in dropped} == {'neck'}
    assert all(name.startswith('backbone.') for name in from_amd_mm(ours, 'mmaction').state)
    with pytest.raises(CheckpointError, match='backbone.fc_norm.weight'):
        from_amd_mm(states.fill(states.encoder(2, 8, 'fc_norm')), 'videomae')
    with pytest.raises(CheckpointError, match='gamma_1'):
        from_amd_mm(states.fill(states.encoder(2, 8, layer_scale=True)), 'huggingface')


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_fixed_tables_are_not_written_where_programs_compute_them(dtype):
    ours = states.fill(states.encoder(2, 384))
    ours['backbone.pos_embed'] = get_sinusoid_encoding(1568, 384)
    ours = {name: tensor.to(dtype) for name, tensor in ours.items()}
    state, dropped = from_amd_mm(ours, 'videomae')
    assert 'encoder.pos_embed' not in state and 'backbone.pos_embed' in dropped
    assert 'backbone.pos_embed' in from_amd_mm(ours, 'huggingface').dropped
    assert 'backbone.pos_embed' in from_amd_mm(ours, 'mmaction').state
    ours['backbone.pos_embed'] = ours['backbone.pos_embed'] + 0.02  # far less than training does
    assert 'encoder.pos_embed' in from_amd_mm(ours, 'videomae').state
    with pytest.raises(CheckpointError, match='backbone.pos_embed'):
        from_amd_mm(ours, 'huggingface')
    # transformers computes it too, so a file that holds it was made by something else
    name, theirs = 'videomae.embeddings.position_embeddings', from_amd_mm(ours, 'mmaction').state
    given = from_amd_mm({k: v for k, v in theirs.items() if 'pos_embed' not in k}, 'huggingface')
    assert name in to_amd_mm(given.state | {name: get_sinusoid_encoding(1568, 384)}).dropped
    with pytest.raises(CheckpointError, match='position_embeddings is not the fixed table'):
        to_amd_mm(given.state | {name: ours['backbone.pos_embed']})
