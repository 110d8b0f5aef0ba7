"""DMAE's public program on its tiny random model, both presets."""

import pytest
import torch
import torch.nn.functional as F
from amd_mm.checkpoints import detect_format, from_amd_mm, load_encoder, load_into
from amd_mm.models import TokenPartition
from amd_mm.models.utils import gather_tokens, position_table
from amd_mm.registry import MODELS

from tests.golden import assert_close, draw_input, draw_state, load_golden
from tests.tiny_image import dmae, image_backbone

RELEASED = dict(
    type='amd_mm.DirectAlignment',
    hidden=False,
    loss=dict(type='amd_mm.FeatureAlignmentLoss', distance='l1',
              normalize=True))  # yapf: disable
# The golden variant: the paper's projection, the released code's loss.
MLP = dict(RELEASED, hidden=True)
VARIANTS = {
    'dmae_image_released': (RELEASED, 'pixels'),
    'dmae_image_mlp_normpix': (MLP, 'per_patch'),
}


@pytest.fixture(scope='module', params=VARIANTS)
def case(request):
    """The golden numbers and our model with the same weights."""
    golden = load_golden(request.param)
    neck, target = VARIANTS[request.param]
    model = MODELS.build(
        dmae(
            neck=neck,
            head=dict(type='amd_mm.PixelReconstructionHead', target=target),
            teacher=dict(
                type='amd_mm.FrozenTeacher', backbone=image_backbone(64, 8, 4), random_init=True
            ),
            layer_pairs=[(3, 6)],
        )
    )
    public = _with_tables(draw_state(golden['student_names'], 'student'))
    assert detect_format(public) == 'dmae'
    report = load_into(model, public)
    assert not report.missing and not report.unexpected
    teacher = MODELS.build(image_backbone(64, 8, 4))
    load_encoder(teacher, _with_tables(draw_state(golden['teacher_names'], 'teacher')))
    del teacher.layers[6:]
    model.teacher.backbone.load_state_dict(teacher.state_dict())
    return golden, model


@pytest.fixture(scope='module')
def images():
    return draw_input('inputs', (3, 3, 64, 64))


def _with_tables(state):
    """The programs' own tables in place of drawn ones."""
    for name in ('pos_embed', 'decoder_pos_embed'):
        if name in state:
            table = position_table((1, 4, 4), state[name].shape[-1], 'sincos_2d')
            state[name] = F.pad(table, (0, 0, 1, 0))
    return state


def _partition(golden):
    return TokenPartition.from_masks(torch.from_numpy(golden['mask']).bool())


def test_goes_back_with_every_name_of_the_public_program(case):
    golden, model = case
    public = _with_tables(draw_state(golden['student_names'], 'student'))
    back = from_amd_mm(model.state_dict(), 'dmae').state
    assert set(back) == set(public)
    for name, tensor in public.items():
        torch.testing.assert_close(back[name], tensor, msg=name)


def test_position_table(case):
    golden, model = case
    assert_close(model.backbone.pos_embed[0, :, ::4], golden['pos_embed'])


def test_losses_and_every_gradient(case, images):
    golden, model = case
    model.zero_grad()
    losses = model.loss(images, partition=_partition(golden))
    assert_close(losses['loss_rec'], golden['loss_rec'])
    assert_close(losses['loss_direct'], golden['loss_align'])
    total, _ = model.parse_losses(losses)
    assert_close(total, golden['loss_total'])
    total.backward()
    grads = {name: one.grad for name, one in model.named_parameters()}
    public = from_amd_mm(grads, 'dmae').state
    expected = {
        name.removeprefix('grad_norm/'): value
        for name, value in golden.items()
        if name.startswith('grad_norm/')
    }
    assert set(public) == set(expected)
    for name, grad in public.items():
        assert_close(grad.norm(), expected[name])


def test_teacher_layer_and_prediction(case, images):
    golden, model = case
    patches = model.patches_of(images)
    kept = torch.from_numpy(golden['ids_keep'])
    assert_close(model.teacher(patches, kept)[0], golden['teacher_tap'])
    # The public program predicts all patches; masked ones mean something.
    masked = torch.from_numpy(golden['mask']).bool()
    every = torch.arange(16).expand(3, -1)
    hidden = every[masked].view(3, -1)
    tokens = model.backbone.encode(patches, kept).tokens
    prediction = model.decoder(tokens, kept, hidden)
    expected = torch.zeros(3, 16, 768)
    expected.scatter_(1, hidden.unsqueeze(-1).expand(-1, -1, 768), prediction)
    seen = masked[:, ::2]
    assert_close(expected[:, ::2, ::16][seen], golden['pred'][seen.numpy()])


def test_order_of_the_visible_tokens_is_of_no_account(case, images):
    golden, model = case
    patches = model.patches_of(images)
    kept = torch.from_numpy(golden['ids_keep'])
    one = model.teacher(patches, kept)[0]
    other = model.teacher(patches, kept.flip(1))[0]
    torch.testing.assert_close(one[:, 1:], other[:, 1:].flip(1))
    assert gather_tokens(patches, kept).shape == (3, 4, 768)
