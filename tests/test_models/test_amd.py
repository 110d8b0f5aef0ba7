"""The algorithms as a whole: what learns, what does not, what is refused."""

import copy

import pytest
import torch
from amd_mm.models import TokenPartition
from amd_mm.registry import MODELS

from tests.tiny import amd, backbone, batch, build, mvd, videomae
from tests.tiny_image import image_backbone

NECKS = ['DirectAlignment', 'GenerationAlignment', 'ParallelAlignment', 'SerialAlignment']


def teacher_state(model):
    return copy.deepcopy(model.teacher.backbone.state_dict())


@pytest.mark.parametrize('neck', NECKS)
@pytest.mark.parametrize('rec_weight', [1.0, 0.0])
def test_every_student_parameter_gets_a_gradient(neck, rec_weight):
    model = build(amd(neck, rec_weight=rec_weight))
    data = model.data_preprocessor(batch(), True)
    losses = model(**data, mode='loss')
    total, log = model.parse_losses(losses)
    total.backward()
    for name, param in model.named_parameters():
        trained = param.grad is not None and param.grad.abs().sum() > 0
        assert trained == param.requires_grad, name
    frozen = [n for n, p in model.named_parameters() if not p.requires_grad]
    assert frozen == ([] if rec_weight else ['backbone.norm.weight', 'backbone.norm.bias'])
    assert ('loss_rec' in log) == bool(rec_weight)
    assert ('loss_direct' in log) == model.neck.aligns_visible
    assert ('loss_generation' in log) == model.neck.aligns_teacher_only
    wanted = sum(v for k, v in losses.items() if k.startswith('loss'))
    torch.testing.assert_close(total, wanted)
    for layer in (2, 4):
        assert -1 <= float(log[f'cosine_layer{layer}']) <= 1
        assert float(log[f'norm_teacher_layer{layer}']) > 0


def test_serial_alignment_trains_without_the_direct_loss():
    """The direct prediction is also what the generator starts from."""
    model = build(amd(direct_weight=0.0))
    data = model.data_preprocessor(batch(), True)
    partition = model.draw_partition(model.patches_of(data['inputs']))
    losses = model.loss(data['inputs'], partition=partition)
    model.parse_losses(losses)[0].backward()
    assert all(p.grad.abs().sum() > 0 for p in model.parameters())
    both = build(amd()).loss(data['inputs'], partition=partition)
    assert set(both) - set(losses) == {'loss_direct', 'direct_layer2', 'direct_layer4'}
    # Of what is trained, as when nothing else is predicted.
    student = model.backbone.encode(
        model.patches_of(data['inputs']), partition.visible, layers=(2, 4)
    ).layers
    made = model.neck(student, partition).generated[0]
    theirs = model.teacher(model.patches_of(data['inputs']), partition.teacher)[0][
        :, -made.shape[1] :
    ]
    torch.testing.assert_close(
        losses['cosine_layer2'], torch.cosine_similarity(made, theirs, dim=-1).mean()
    )


def test_loss_weights_scale_their_terms():
    model = build(amd())
    data = model.data_preprocessor(batch(), True)
    partition = model.draw_partition(model.patches_of(data['inputs']))
    plain = model.loss(data['inputs'], partition=partition)
    weighted = build(amd(rec_weight=2.0, direct_weight=0.5, generation_weight=3.0))
    weighted.load_state_dict(model.state_dict())
    weighted.teacher.backbone.load_state_dict(teacher_state(model))
    other = weighted.loss(data['inputs'], partition=partition)
    for name, factor in (('rec', 2), ('direct', 0.5), ('generation', 3)):
        torch.testing.assert_close(other[f'loss_{name}'], plain[f'loss_{name}'] * factor)
    layers = [plain['direct_layer2'], plain['direct_layer4']]
    torch.testing.assert_close(plain['loss_direct'].detach(), torch.stack(layers).mean())


def test_predict_mode_puts_reconstructions_onto_the_samples():
    model = build(amd()).eval()
    data = model.data_preprocessor(batch(), False)
    assert len(model(data['inputs'], mode='predict')) == 2
    samples = model(**data, mode='predict')
    for index, sample in enumerate(samples):
        assert sample is data['data_samples'][index]
        raw = batch()['inputs'][index][0] / 255
        torch.testing.assert_close(sample.clip, raw, rtol=1e-4, atol=1e-4)
        assert sample.student_mask.shape == (4, 4, 4)
        assert sample.student_mask.float().mean() == 0.75
        assert sample.teacher_mask.float().mean() == 0.5
        assert not (sample.teacher_mask & ~sample.student_mask).any()
        # (T', H', W') -> (T, H, W): what is seen stays as it is, no more.
        hidden = sample.student_mask
        for axis, size in enumerate(model.backbone.patch_shape):
            hidden = hidden.repeat_interleave(size, axis)
        assert torch.equal(
            (sample.completed != sample.clip).any(0) & ~hidden, torch.zeros_like(hidden)
        )
        assert (sample.completed != sample.clip).any(0)[hidden].all()


def test_reconstruct_takes_a_partition():
    model = build(videomae()).eval()
    clips = model.data_preprocessor(batch(), False)['inputs']
    order = torch.arange(64).flip(0).expand(2, -1)
    mine = TokenPartition(order[:, :8], order[:, 8:8], order[:, 8:])
    result = model.reconstruct(clips, mine)
    assert result.partition is mine
    true = model.backbone.patchify(result.clip)
    kept = (model.backbone.patchify(result.completed) == true).all(-1)
    assert kept[:, -8:].all() and not kept[:, :-8].any()
    assert model(clips).shape == (2, 64, 48)


def test_part_of_the_unseen_can_be_decoded():
    cfg = videomae()
    cfg['mask_generator'] = dict(cfg['mask_generator'], decoder_ratio=0.5)
    model = build(cfg)
    assert model.token_counts()['decoded'] == 24
    model.loss(torch.randn(2, 3, 8, 64, 64))['loss_rec'].backward()


def test_part_of_the_extra_can_be_generated():
    """The same tokens are compared as when all are generated by hand."""
    cfg = amd()
    cfg['mask_generator'] = dict(cfg['mask_generator'], generator_ratio=0.5)
    model = build(cfg)
    counts = model.token_counts()
    assert (counts['teacher_only'], counts['generated']) == (16, 8)
    clip = torch.randn(2, 3, 8, 64, 64)
    patches = model.patches_of(clip)
    partition = model.draw_partition(patches)
    losses = model.loss(clip, partition=partition)
    layers = model.teacher(patches, partition.generated)  # the shape wanted
    student = model.backbone.encode(patches, partition.visible, layers=model.student_layers).layers
    everything = model.teacher(patches, partition.teacher)
    where = partition.teacher[:, :, None] == partition.generated[:, None]
    for index, layer in enumerate(model.student_layers):
        neck = model.neck
        made = neck.generators[index].fill_in(
            neck.projections[index](student[index]), partition.visible, partition.generated
        )
        assert made.shape == layers[index].shape
        # (B, Kv + Ke, Kg) picks the teacher's features of those tokens.
        wanted = where.float().transpose(1, 2) @ everything[index]
        torch.testing.assert_close(
            losses[f'generation_layer{layer}'], (made - wanted).square().mean()
        )


def test_one_channel_and_other_sizes_train():
    cfg = videomae(
        backbone=dict(backbone(in_channels=1), img_size=(32, 96), num_frames=4),
        data_preprocessor=None,
    )
    model = build(cfg)
    loss = model.loss(torch.rand(2, 1, 4, 32, 96) * 255)['loss_rec']
    assert loss.isfinite()


def test_a_neck_of_another_kind_is_named(monkeypatch):
    class BareNeck(torch.nn.Module):
        def __init__(self, student_dims, teacher_dims, num_pairs):
            super().__init__()

    monkeypatch.setitem(MODELS.module_dict, 'BareNeck', BareNeck)
    with pytest.raises(ValueError, match='BareNeck must be a subclass of'):
        build(dict(amd(), neck=dict(type='amd_mm.BareNeck')))


@pytest.mark.parametrize(
    'change, words',
    [
        (dict(layer_pairs=[]), 'layer_pairs must be a list'),
        (dict(layer_pairs=[(2, 3)], rec_weight=0.0), 'no loss trains'),
        (dict(neck='ParallelAlignment', direct_weight=0.0), 'direct_weight=0 .* ParallelAlignment'),
        (dict(neck='DirectAlignment', direct_weight=0.0), 'direct_weight=0 .* DirectAlignment'),
        (dict(decoder=None), 'needs a decoder'),
        (dict(backbone=dict(backbone(), use_mean_pooling=True)), 'use_mean_pooling=False'),
    ],
    ids=str,
)
def test_contradictions_are_named(change, words):
    """Others are in ``tests/test_reliability/bad_input_cases.py``."""
    with pytest.raises(ValueError, match=words):
        build(amd(**change))


def test_misspelt_arguments_are_refused():
    with pytest.raises(TypeError, match='rec_wait'):
        build(amd(rec_wait=1.0))
    with pytest.raises(ValueError, match='without a loss'):
        build(videomae(rec_weight=0.0))


def test_loss_does_not_depend_on_the_order_of_a_set():
    model = build(amd())
    clip = torch.randn(2, 3, 8, 64, 64)
    partition = model.draw_partition(model.patches_of(clip))
    turned = TokenPartition(
        partition.visible.flip(1), partition.teacher_only.flip(1), partition.hidden.flip(1)
    )
    mine = model.loss(clip, partition=partition)
    theirs = model.loss(clip, partition=turned)
    for name in ('loss_rec', 'loss_direct', 'loss_generation'):
        torch.testing.assert_close(mine[name], theirs[name], rtol=1e-4, atol=1e-5)


IMAGE_TEACHER = dict(
    type='amd_mm.ImageTeacher', backbone=image_backbone(32, 3, 2), random_init=True
)


def amd_with_image_teacher(**other):
    """AMD, and an image teacher of whole frames whose features are predicted at visible tokens."""
    cfg = amd()
    cfg.update(
        teacher=dict(video=cfg['teacher'], image=IMAGE_TEACHER),
        neck=dict(video=cfg['neck'], image=dict(type='amd_mm.DirectAlignment')),
        layer_pairs=dict(video=cfg['layer_pairs'], image=[(3, 2), (4, 3)]),
        direct_weight=dict(video=1.0, image=0.5),
    )
    return cfg | other


def test_a_second_teacher_adds_its_losses_and_changes_no_other():
    one, two = build(amd()), build(amd_with_image_teacher())
    for mine, other in ((two.neck['video'], one.neck), (two.decoder, one.decoder)):
        mine.load_state_dict(other.state_dict())
    two.backbone.load_state_dict(one.backbone.state_dict())
    two.teacher['video'].backbone.load_state_dict(teacher_state(one))
    clip = torch.randn(2, 3, 8, 64, 64)
    partition = one.draw_partition(one.patches_of(clip))
    alone, both = one.loss(clip, partition=partition), two.loss(clip, partition=partition)
    torch.testing.assert_close(both.pop('loss_rec'), alone.pop('loss_rec'))
    for name, value in alone.items():
        torch.testing.assert_close(both.pop(f'{name}_video'), value)
    assert {name.removesuffix('_image') for name in both} == {
        'loss_direct',
        *(f'{figure}_layer{n}' for figure in FIGURES for n in (3, 4)),
    }
    mean = (both['direct_layer3_image'] + both['direct_layer4_image']) / 2
    torch.testing.assert_close(both['loss_direct_image'].detach(), 0.5 * mean)


FIGURES = 'direct', 'cosine', 'norm_student', 'norm_teacher'


def test_several_teachers_train_everything_and_stay_out_of_the_model():
    for model in (build(mvd()), build(amd_with_image_teacher())):
        size = model.backbone.token_grid[1] * 16
        frames = model.backbone.token_grid[0] * 2
        losses = model.loss(torch.randn(2, 3, frames, size, size))
        model.parse_losses(losses)[0].backward()
        assert all(value.grad.abs().sum() > 0 for value in model.parameters())
        assert not any('teacher' in name for name in model.state_dict())
        copied = copy.deepcopy(model)
        for name, teacher in model.teacher.items():
            assert copied.teacher[name] is teacher and not teacher.training
            assert not any(one.requires_grad for one in teacher.parameters())
        assert copied.neck is not model.neck
        assert model.double().teacher['image'].scale.dtype == torch.float64


def test_every_teacher_sees_its_share_of_the_same_clip():
    ratios = dict(video=None, image=0.25)
    model = build(amd_with_image_teacher(teacher_ratio=ratios))
    seen = {}
    for name, teacher in model.teacher.items():
        teacher.register_forward_pre_hook(
            lambda module, inputs, name=name: seen.update({name: inputs[1]})
        )
    model.loss(torch.randn(2, 3, 8, 64, 64))
    assert {name: ids.shape for name, ids in seen.items()} == dict(video=(2, 32), image=(2, 48))
    assert torch.equal(seen['video'][:, :16], seen['image'][:, :16])  # the student's
    for few, many in zip(seen['video'].tolist(), seen['image'].tolist()):
        assert set(few) < set(many) and len(set(many)) == 48
    patches = torch.zeros(2, 64, 1)
    fixed = model.draw_partition(patches)
    with pytest.raises(ValueError, match='ratio of its own needs a partition'):
        model.loss(
            torch.randn(2, 3, 8, 64, 64),
            partition=TokenPartition(fixed.visible, fixed.teacher_only, fixed.hidden),
        )


@pytest.mark.parametrize(
    'cfg, words',
    [
        (lambda: mvd(layer_pairs=dict(image=[(4, 2)])), r"layer_pairs names .*'image'\]"),
        (lambda: mvd(layer_pairs=[(2, 2)]), 'after block 4, the last one'),
        (lambda: mvd(layer_pairs=[(2, 1), (4, 2)]), 'one layer of the teacher'),
        (lambda: mvd(teacher_ratio=0.8), 'teacher_ratio <= student_ratio'),
        (lambda: mvd(teacher_ratio=dict(image=0.7, video=0.0)), 'equal mask ratios leave'),
        (lambda: amd(teacher=IMAGE_TEACHER, layer_pairs=[(2, 4)]), 'block 4 of the teacher'),
    ],
)
def test_contradictions_of_several_teachers_are_named(cfg, words):
    with pytest.raises(ValueError, match=words):
        build(cfg())
