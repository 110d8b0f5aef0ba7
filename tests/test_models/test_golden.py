"""The published program's numbers on its tiny random model."""

import pytest
import torch
from amd_mm.checkpoints import from_amd_mm, load_encoder, load_into
from amd_mm.models import TokenPartition
from amd_mm.registry import MODELS

from tests.golden import assert_close, draw_input, draw_state, load_golden
from tests.tiny import amd, backbone


@pytest.fixture(scope='module')
def golden():
    return load_golden('amd_video')


@pytest.fixture(scope='module')
def model(golden):
    model = MODELS.build(amd())
    load_into(model, draw_state(golden['student_names'], 'student'))
    teacher = MODELS.build(backbone(64, 6, 1))
    load_encoder(teacher, draw_state(golden['teacher_names'], 'teacher'), allow_missing=('norm',))
    model.teacher.backbone.load_state_dict(teacher.state_dict())
    return model


@pytest.fixture(scope='module')
def clip():
    return draw_input('inputs', (2, 3, 8, 64, 64))


@pytest.fixture(scope='module')
def partition(golden):
    return TokenPartition.from_masks(
        torch.from_numpy(golden['mask_student']), torch.from_numpy(golden['mask_teacher'])
    )


def test_extra_tokens_are_the_published_ones(golden, partition):
    extra = torch.zeros(2, 64, dtype=torch.bool)
    extra.scatter_(1, partition.teacher_only, True)
    assert torch.equal(extra, torch.from_numpy(golden['mask_extra']))


def test_losses_and_every_gradient(golden, model, clip, partition):
    model.zero_grad()
    losses = model.loss(clip, partition=partition)
    for name in ('loss_rec', 'loss_direct', 'loss_generation'):
        assert_close(losses[name], golden[name])
    total, _ = model.parse_losses(losses)
    assert_close(total, golden['loss_total'])
    total.backward()
    grads = {name: p.grad for name, p in model.named_parameters()}
    public = from_amd_mm(grads, 'amd').state
    for number, generator in enumerate(model.neck.generators):
        # The public program does not save mask tokens, and its generators' norm is not used.
        public[f'generator_mask_tokens.{number}'] = generator.mask_token.grad
        del public[f'generators.{number}.norm.weight'], public[f'generators.{number}.norm.bias']
    expected = {
        name.removeprefix('grad_norm/'): value
        for name, value in golden.items()
        if name.startswith('grad_norm/')
    }
    assert set(public) == set(expected)
    for name, grad in public.items():
        assert_close(grad.norm(), expected[name])


def test_predictions_targets_and_layers(golden, model, clip, partition):
    patches = model.patches_of(clip)
    unseen = partition.masked.sort(dim=1).values
    student = model.backbone.encode(patches, partition.visible, layers=[2, 4])
    prediction = model.decoder(student.tokens, partition.visible, unseen)
    assert_close(prediction[:, ::6, ::24], golden['pred'])
    truth = patches.gather(1, unseen.unsqueeze(-1).expand(-1, -1, patches.shape[-1]))
    target = model.head.target(truth, *model.pixel_stats())
    assert_close(target[:, ::6, ::24], golden['target'])
    aligned = model.neck(student.layers, partition)
    theirs = model.teacher(patches, partition.teacher)
    for index in range(2):
        assert_close(aligned.direct[index], golden[f'student_direct.{index}'])
        assert_close(aligned.generated[index], golden[f'student_generation.{index}'])
        visible, extra = theirs[index].split([16, 16], dim=1)
        assert_close(visible, golden[f'teacher_direct.{index}'])
        assert_close(extra, golden[f'teacher_generation.{index}'])


def test_fine_tuned_logits(golden):
    """The converter on our backbone in MMAction2's recogniser."""
    golden = load_golden('finetune_video')
    recogniser = MODELS.build(
        dict(
            type='mmaction.Recognizer3D',
            data_preprocessor=dict(type='mmaction.ActionDataPreprocessor'),
            backbone=dict(backbone(depth=3), use_mean_pooling=True),
            cls_head=dict(
                type='mmaction.TimeSformerHead', num_classes=7, in_channels=48, average_clips='prob'
            ),
        )
    )
    names = next(v for k, v in golden.items() if 'names' in k)
    load_into(recogniser, draw_state(names, 'finetune'))
    recogniser.eval()
    clip = draw_input('inputs', (2, 3, 8, 64, 64))
    logits = recogniser.cls_head(recogniser.backbone(clip))
    assert_close(logits, golden['logits'])
