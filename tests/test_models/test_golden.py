"""The published programs' numbers and gradients, on their tiny random models."""

import pytest
import torch
import torch.nn.functional as F
from amd_mm.checkpoints import detect_format, from_amd_mm, load_encoder, load_into
from amd_mm.models import TokenPartition
from amd_mm.models.heads import token_relation
from amd_mm.models.utils import gather_tokens, position_table, rotary_angles, rotate
from amd_mm.registry import MODELS

from tests.golden import assert_close, draw_input, draw_state, golden_amd, load_golden
from tests.tiny import backbone, mvd
from tests.tiny_image import dmae, image_backbone
from tests.tiny_tinymim import tinymim, vit

IMAGE = (3, 3, 64, 64)
RELEASED = dict(
    type='amd_mm.DirectAlignment',
    hidden=False,
    loss=dict(type='amd_mm.FeatureAlignmentLoss', distance='l1', normalize=True),
)
# The second variant has the paper's projection and the released code's loss.
DMAE = {
    'dmae_image_released': (RELEASED, 'pixels'),
    'dmae_image_mlp_normpix': (dict(RELEASED, hidden=True), 'per_patch'),
}


def check_gradients(model, losses, golden, kind):
    """Compare the total loss and the norm of every gradient, in public names."""
    total, _ = model.parse_losses(losses)
    if 'loss_total' in golden:
        assert_close(total, golden['loss_total'])
    model.zero_grad()
    total.backward()
    gradients = {
        name: torch.full_like(parameter, torch.nan) if parameter.grad is None else parameter.grad
        for name, parameter in model.named_parameters()
    }
    public = from_amd_mm(gradients, kind).state
    if kind == 'amd':
        # The public program does not save mask tokens, and does not use its generators' norm.
        for number, generator in enumerate(model.neck.generators):
            public[f'generator_mask_tokens.{number}'] = generator.mask_token.grad
            del public[f'generators.{number}.norm.weight'], public[f'generators.{number}.norm.bias']
    prefix = 'grad_norm/'
    expected = {
        name.removeprefix(prefix): value for name, value in golden.items() if prefix in name
    }
    assert public.keys() == expected.keys()
    for name, gradient in public.items():
        if expected[name] == -1:  # never gets a gradient in the public program
            assert gradient.isnan().all(), name
        else:
            assert_close(gradient.norm(), expected[name])


@pytest.fixture(scope='module')
def video():
    return golden_amd()


def test_amd_losses_and_every_gradient(video):
    golden, model, clip, partition = video
    losses = model.loss(clip, partition=partition)
    for name in ('loss_rec', 'loss_direct', 'loss_generation'):
        assert_close(losses[name], golden[name])
    check_gradients(model, losses, golden, 'amd')


def test_amd_tokens_predictions_targets_and_layers(video):
    golden, model, clip, partition = video
    teacher_only = torch.zeros(2, 64, dtype=torch.bool).scatter_(1, partition.teacher_only, True)
    assert torch.equal(teacher_only, torch.from_numpy(golden['mask_extra']))
    patches = model.patches_of(clip)
    masked = partition.masked.sort(dim=1).values
    student = model.backbone.encode(patches, partition.visible, layers=[2, 4])
    prediction = model.decoder(student.tokens, partition.visible, masked)
    assert_close(prediction[:, ::6, ::24], golden['pred'])
    truth = patches.gather(1, masked.unsqueeze(-1).expand(-1, -1, patches.shape[-1]))
    target = model.head.target(truth, *model.pixel_stats())
    assert_close(target[:, ::6, ::24], golden['target'])
    aligned = model.neck(student.layers, partition)
    teacher_layers = model.teacher(patches, partition.teacher)
    for index in range(2):
        assert_close(aligned.direct[index], golden[f'student_direct.{index}'])
        assert_close(aligned.generated[index], golden[f'student_generation.{index}'])
        visible, teacher_only = teacher_layers[index].split([16, 16], dim=1)
        assert_close(visible, golden[f'teacher_direct.{index}'])
        assert_close(teacher_only, golden[f'teacher_generation.{index}'])


@pytest.mark.parametrize('layer_norm', [False, True])
def test_mvd_losses_features_and_every_gradient(layer_norm):
    golden = load_golden('mvd_video')
    cfg = mvd()
    for teacher in cfg['teacher'].values():
        teacher['layer_norm'] = layer_norm
    model = MODELS.build(cfg)
    state = draw_state(golden['student_names'], 'student')
    for name in ('pos_embed', 'pos_embed_img', 'pos_embed_vid'):  # all have the student's width
        state[name] = torch.from_numpy(golden['pos_embed'])[None]
    report = load_into(model, state)
    assert report.fmt == 'mvd' and not report.missing and not report.unexpected
    assert 'computes the same' in report.recomputed['neck.image.decoder.pos_embed']
    load_mvd_teachers(model, golden)
    clip = draw_input('inputs', (2, 3, 16, 48, 48))
    mask = torch.from_numpy(golden['mask_student'])
    partition = TokenPartition.from_masks(mask, torch.zeros_like(mask))
    losses = model.loss(clip, partition=partition)
    prefix = 'norm/' if layer_norm else ''
    for name in ('image', 'video'):
        assert_close(losses[f'loss_generation_{name}'], golden[f'{prefix}loss_{name}'])
    total, _ = model.parse_losses(losses)
    assert_close(total, golden[f'{prefix}loss_total'])
    if layer_norm:
        return
    total.backward()
    ours = {name: parameter.grad for name, parameter in model.named_parameters()}
    gradients = from_amd_mm(ours, 'mvd').state
    names = [name.removeprefix('grad_norm/') for name in golden if 'grad_norm' in name]
    assert set(names) == gradients.keys()
    for name in names:
        assert_close(gradients[name].norm(), golden[f'grad_norm/{name}'])
    check_mvd_features(model, golden, model.patches_of(clip), partition)


def load_mvd_teachers(model, golden):
    for name, cfg in (('image', image_backbone(64, 2, 4)), ('video', backbone(80, 3, 2))):
        size = dict(num_frames=16) if name == 'video' else {}
        teacher = MODELS.build(dict(cfg, img_size=48, **size))
        state = draw_state(golden[f'{name}_teacher_names'], f'{name}_teacher')
        if name == 'image':
            state['pos_embed'] = F.pad(position_table((1, 3, 3), 64, 'sincos_2d'), (0, 0, 1, 0))
        load_encoder(teacher, state)
        model.teacher[name].backbone.load_state_dict(teacher.state_dict())


def check_mvd_features(model, golden, patches, partition):
    everything = torch.arange(72).expand(2, -1)
    tokens = model.backbone.encode(patches, partition.visible).tokens
    assert_close(tokens[:, ::3, ::4], golden['tokens'])
    for name, teacher in model.teacher.items():
        features = teacher(patches, everything)[0]
        assert_close(features[:, ::7, ::4], golden[f'{name}_teacher'])
        (prediction,) = model.neck[name]([tokens], partition).generated
        assert_close(prediction[:, ::4, ::4], golden[f'pred_{name}'])
        target = gather_tokens(features, partition.teacher_only)
        assert_close(target[:, ::4, ::4], golden[f'target_{name}'])


def with_tables(state):
    """The program's own tables in place of drawn ones."""
    for name in ('pos_embed', 'decoder_pos_embed'):
        if name in state:
            table = position_table((1, 4, 4), state[name].shape[-1], 'sincos_2d')
            state[name] = F.pad(table, (0, 0, 1, 0))
    return state


@pytest.fixture(scope='module', params=DMAE)
def image(request):
    """Golden numbers of DMAE, our model with the same weights, its images and public state."""
    golden = load_golden(request.param)
    neck, target = DMAE[request.param]
    encoder = image_backbone(64, 8, 4)
    model = MODELS.build(
        dmae(
            neck=neck,
            head=dict(type='amd_mm.PixelReconstructionHead', target=target),
            teacher=dict(type='amd_mm.FrozenTeacher', backbone=encoder, random_init=True),
            layer_pairs=[(3, 6)],
        )
    )
    public = with_tables(draw_state(golden['student_names'], 'student'))
    assert detect_format(public) == 'dmae'
    report = load_into(model, dict(public))
    assert not report.missing and not report.unexpected
    teacher = MODELS.build(encoder)
    load_encoder(teacher, with_tables(draw_state(golden['teacher_names'], 'teacher')))
    del teacher.layers[6:]
    model.teacher.backbone.load_state_dict(teacher.state_dict())
    return golden, model, draw_input('inputs', IMAGE), public


def test_dmae_losses_and_every_gradient(image):
    golden, model, images, _ = image
    partition = TokenPartition.from_masks(torch.from_numpy(golden['mask']).bool())
    losses = model.loss(images, partition=partition)
    assert_close(losses['loss_rec'], golden['loss_rec'])
    assert_close(losses['loss_direct'], golden['loss_align'])
    check_gradients(model, losses, golden, 'dmae')


def test_dmae_table_teacher_layer_and_prediction(image):
    golden, model, images, _ = image
    assert_close(model.backbone.pos_embed[0, :, ::4], golden['pos_embed'])
    patches = model.patches_of(images)
    kept = torch.from_numpy(golden['ids_keep'])
    layer = model.teacher(patches, kept)[0]
    assert_close(layer, golden['teacher_tap'])
    reordered = model.teacher(patches, kept.flip(1))[0]
    torch.testing.assert_close(layer[:, 1:], reordered[:, 1:].flip(1))
    # The public program predicts all patches, but only the masked ones are trained.
    masked = torch.from_numpy(golden['mask']).bool()
    hidden = torch.arange(16).expand(3, -1)[masked].view(3, -1)
    tokens = model.backbone.encode(patches, kept).tokens
    prediction = model.decoder(tokens, kept, hidden)
    everything = torch.zeros(3, 16, 768)
    everything.scatter_(1, hidden.unsqueeze(-1).expand(-1, -1, 768), prediction)
    compared = masked[:, ::2]
    assert_close(everything[:, ::2, ::16][compared], golden['pred'][compared.numpy()])


def test_dmae_converts_back_to_every_public_tensor(image):
    _, model, _, public = image
    back = from_amd_mm(model.state_dict(), 'dmae').state
    assert back.keys() == public.keys()
    for name, tensor in public.items():
        torch.testing.assert_close(back[name], tensor, msg=name)


@pytest.fixture(scope='module')
def relations():
    """Golden numbers of TinyMIM, our model with the same weights, and its two views."""
    golden = load_golden('tinymim_image')
    torch.manual_seed(0)
    model = MODELS.build(tinymim()).train()
    whole = MODELS.build(vit(64, 6, 4))
    for encoder, who in ((model.backbone, 'student'), (whole, 'teacher')):
        state = draw_state(golden[f'{who}_names'], who)
        state['pos_embed'] = encoder.pos_embed  # not drawn: MAE's fixed table
        report = load_encoder(encoder, state)
        assert len(report.loaded) == len(golden[f'{who}_names'])
    del whole.layers[5:]
    model.teacher.backbone.load_state_dict(whole.state_dict())
    clean = draw_input('inputs_teacher', (2, 3, 64, 64))
    noise = draw_input('student_noise', (2, 3, 64, 64))
    return golden, model, [clean + 0.1 * noise, clean]


def test_tinymim_losses_and_every_gradient(relations):
    golden, model, views = relations
    losses = model.loss(views)
    for name in ('loss_qk', 'loss_vv'):
        assert_close(losses[name], golden[name])
    check_gradients(model, losses, golden, 'mae')


def test_tinymim_relations_of_the_teacher(relations):
    golden, model, views = relations
    qkv = model.teacher.query_key_value(model.backbone.patchify(views[1]))
    for name in ('qk', 'vv'):
        assert_close(token_relation(qkv, name).exp(), golden[f'teacher_{name}'])


@pytest.fixture(scope='module')
def vjepa2():
    golden = load_golden('vjepa2_encoder')
    model = MODELS.build(backbone(pos_embed_type='rope_3d')).eval()
    load_encoder(model, draw_state(golden['names'], 'vjepa2'), logger=None)
    return model, golden


CLIP, WIDE = (2, 3, 8, 64, 64), (2, 3, 4, 64, 96)


@pytest.mark.parametrize(
    'inputs, shape, keep, every, taps, last',
    [
        ('inputs', CLIP, None, 4, {1: 'tap.1', 2: 'tap.2', 4: 'tap.4'}, 'last'),
        ('inputs', CLIP, 'keep', 1, {2: 'subset_tap.2', 4: 'subset_tap.4'}, 'subset_last'),
        ('inputs', (2, 3, 6, 64, 64), None, 4, {}, 'short_last'),
        ('inputs_wide', WIDE, None, 3, {2: 'wide_tap.2'}, 'wide_last'),
        ('inputs_wide', WIDE, 'keep_wide', 1, {}, 'wide_subset_last'),
    ],
    ids=['all', 'subset', 'short', 'wide', 'wide_subset'],
)
@torch.no_grad()
def test_rotary_encoder_of_v_jepa_2(vjepa2, inputs, shape, keep, every, taps, last):
    model, golden = vjepa2
    clip = draw_input(inputs, CLIP if inputs == 'inputs' else WIDE)[:, :, : shape[2]]
    ids = torch.from_numpy(golden[keep]) if keep else None
    out = model.encode(model.patchify(clip), ids, list(taps), grid=model.grid_of(clip))
    for layer, name in zip(out.layers, taps.values()):
        assert_close(layer[:, ::every, ::4], golden[name])
    assert_close(out.tokens[:, ::every, ::4], golden[last])


@pytest.mark.parametrize('width', [16, 64, 80])
def test_rotation_of_v_jepa_2(width):
    golden = load_golden('vjepa2_encoder')
    x, ids = draw_input(f'rotary{width}', (1, 1, 10, width)), torch.tensor(golden['rotary_ids'])
    angles = rotary_angles(ids[None], (8, 16, 16), width)
    assert_close(rotate(x, angles.cos(), angles.sin())[0, 0], golden[f'rotary{width}'])
    half = rotate(x.bfloat16(), angles.cos(), angles.sin())  # angles stay in float32
    torch.testing.assert_close(
        half, rotate(x.bfloat16().float(), angles.cos(), angles.sin()).bfloat16()
    )
