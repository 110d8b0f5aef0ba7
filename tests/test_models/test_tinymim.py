"""TinyMIM: what is computed and trained, the options, the errors."""

import math

import pytest
import torch
import torch.nn.functional as F
from amd_mm.models import TokenPartition, TokenRelationLoss
from amd_mm.registry import MODELS

from tests.tiny_tinymim import teacher, tinymim, vit

FEATURES = dict(type='amd_mm.FeatureTargetHead')
CLASS = dict(type='amd_mm.FeatureTargetHead', tokens='class')
BARE = dict(with_cls_token=False, out_type='raw')
MASKED = dict(type='amd_mm.AsymmetricRandomMaskGenerator', student_ratio=0.75, teacher_ratio=0.5)


def build(**other):
    torch.manual_seed(0)
    model = MODELS.build(tinymim(**other))
    model.init_weights()
    return model.train()


def images(batch=2, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 3, 64, 64, generator=generator)


def gradients(model, inputs, **other):
    model.zero_grad()
    losses = model.loss(inputs, **other)
    sum(losses.values()).backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def test_what_never_gets_a_gradient_is_frozen():
    model = build()
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert len(frozen) == 10
    found = gradients(model, images())
    assert {name for name, grad in found.items() if grad is None} == frozen


@pytest.mark.parametrize(
    'relation, first, second', [('qk', 0, 1), ('vv', 2, 2), ('qq', 0, 0), ('kk', 1, 1)]
)
def test_relation_loss_by_hand(relation, first, second):
    generator = torch.Generator().manual_seed(0)
    mine = torch.randn(3, 2, 4, 5, 6, generator=generator)
    theirs = torch.randn(3, 2, 4, 5, 8, generator=generator)
    found = TokenRelationLoss([relation])(mine, theirs)
    total = 0.0
    for image in range(2):
        for head in range(4):
            for query in range(5):
                rows = []
                for qkv in (mine, theirs):
                    left = qkv[first, image, head, query].double()
                    right = qkv[second, image, head].double()
                    logits = right @ left / math.sqrt(len(left))
                    rows.append(logits.exp() / logits.exp().sum())
                total += (rows[1] * (rows[1] / rows[0]).log()).sum()
    assert set(found) == {relation}
    assert found[relation] == pytest.approx(total.item() / (2 * 4 * 5), rel=1e-5)


def test_large_values_under_autocast():
    """V·V beyond float16's range, and softmax beyond float32's logarithm."""
    dtype = torch.float16
    generator = torch.Generator().manual_seed(0)
    mine = 300 * torch.randn(3, 1, 2, 6, 4, generator=generator)
    theirs = 300 * torch.randn(3, 1, 2, 6, 4, generator=generator)
    expected = TokenRelationLoss()(mine.to(dtype).double(), theirs.to(dtype).double())
    mine = mine.to(dtype).requires_grad_()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found = TokenRelationLoss()(mine, theirs.to(dtype))
    for name, value in found.items():
        assert value.dtype == torch.float32 and value > 1e3
        assert value.item() == pytest.approx(expected[name].item(), rel=1e-5)
    sum(found.values()).backward()
    assert mine.grad.isfinite().all()


def test_only_what_the_relations_need_is_computed():
    model = build()
    ran = []
    for who, backbone in (('student', model.backbone), ('teacher', model.teacher.backbone)):
        for number, layer in enumerate(backbone.layers, start=1):
            for part in ('attn.qkv', 'attn.proj', 'ffn'):
                layer.get_submodule(part).register_forward_hook(
                    lambda *_, key=(who, number, part): ran.append(key)
                )
    model.loss(images())
    expected = {
        ('student', number, part) for number in range(1, 12) for part in ('attn.proj', 'ffn')
    }
    expected |= {
        ('teacher', number, part) for number in range(1, 5) for part in ('attn.proj', 'ffn')
    }
    # Without attn.qkv: the blocks before call it inside their attention.
    assert {key for key in ran if key[2] != 'attn.qkv'} == expected
    assert ran.count(('student', 12, 'attn.qkv')) == 1
    assert ran.count(('teacher', 5, 'attn.qkv')) == 1
    assert len(model.teacher.backbone.layers) == 5


@pytest.mark.parametrize(
    'head, name, target', [(FEATURES, 'loss_feature', slice(None)), (CLASS, 'loss_class', slice(1))]
)
def test_feature_and_class_token_targets(head, name, target):
    model, inputs = build(head=head, last_heads=None), images()
    patches = model.backbone.patchify(inputs)
    (mine,) = model.backbone.encode(patches, layers=[12]).layers
    (theirs,) = model.teacher.backbone.encode(patches, layers=[5]).layers
    expected = F.l1_loss(model.head.projection(mine[:, target]), theirs[:, target])
    losses = model.loss(inputs)
    assert set(losses) == {name}
    torch.testing.assert_close(losses[name], expected)
    found = gradients(model, inputs)
    assert {key for key, grad in found.items() if grad is None} == {
        'backbone.ln1.weight',
        'backbone.ln1.bias',
    }
    assert model.extract_feat(inputs).shape == (2, 17, 48)


def test_other_relations_and_another_block():
    model = build(head=dict(type='amd_mm.TokenRelationHead', relations=['qq', 'kk']), block=9)
    assert set(model.loss(images())) == {'loss_qq', 'loss_kk'}
    found = gradients(model, images())
    assert found['backbone.layers.8.attn.qkv.weight'] is not None
    for name, parameter in model.backbone.named_parameters():
        if name.startswith(('layers.9.', 'layers.11.')):
            assert not parameter.requires_grad


def test_masked_input_compares_what_both_see():
    model, inputs = build(mask_generator=MASKED), images()
    visible = torch.tensor([[1, 4, 7, 9], [0, 2, 3, 15]])
    extra = torch.tensor([[0, 2, 8, 11], [1, 5, 6, 7]])
    partition = TokenPartition(visible, extra, torch.zeros(2, 8).long())
    patches = model.backbone.patchify(inputs)
    mine = model.backbone.query_key_value(patches, 12, token_ids=visible, num_heads=4)
    theirs = model.teacher.query_key_value(patches, torch.cat([visible, extra], 1))
    # The class token and the four visible patches.
    expected = TokenRelationLoss()(mine, theirs[..., :5, :])
    losses = model.loss(inputs, partition=partition)
    torch.testing.assert_close(losses['loss_qk'], expected['qk'])
    torch.testing.assert_close(losses['loss_vv'], expected['vv'])
    assert model.loss(inputs)['loss_qk'].isfinite()  # drawn by the generator


def test_drop_path_of_the_teacher_is_an_option():
    inputs = images(8)
    without = build()
    patches = without.backbone.patchify(inputs)
    target = without.teacher.query_key_value
    assert torch.equal(target(patches), target(patches))
    model = build(teacher=teacher(backbone=dict(vit(64, 6, 4), drop_path_rate=0.5)))
    target = model.teacher.query_key_value
    assert not torch.equal(target(patches), target(patches))
    model.eval()
    assert torch.equal(target(patches), target(patches))


def test_features_are_those_that_were_trained():
    model, inputs = build().eval(), images()
    before = model.extract_feat(inputs)
    assert before.shape == (2, 17, 48)
    with torch.no_grad():
        for parameter in model.backbone.parameters():
            if not parameter.requires_grad:
                parameter.fill_(7.0)
    assert torch.equal(model(inputs), before)


@pytest.mark.parametrize(
    'other, complaint',
    [
        (dict(last_heads=3), r'last_heads=3 of the student and teacher.num_heads=4'),
        (
            dict(last_heads=5, teacher=teacher(num_heads=5)),
            r'5 heads do not divide the width 64 of teacher.backbone',
        ),
        (
            dict(last_heads=16, teacher=teacher(num_heads=16), backbone=vit(40, 12, 5)),
            r'16 heads do not divide the width 40 of backbone',
        ),
        (dict(block=13), r'block=13 .* 2 to 12'),
        (
            dict(backbone=vit(**BARE)),
            r'num_extra_tokens is 1 in teacher.backbone and 0 in backbone',
        ),
        (
            dict(head=dict(type='amd_mm.TokenRelationHead', relations=['qv'])),
            r'relations must be .*qv',
        ),
        (
            dict(head=dict(type='amd_mm.FeatureTargetHead', tokens='patches')),
            r"tokens must be one of .*'patches'",
        ),
        (
            dict(head=CLASS, backbone=vit(**BARE), teacher=teacher(backbone=vit(64, 6, 4, **BARE))),
            'needs a class token',
        ),
    ],
)
def test_what_does_not_go_together(other, complaint):
    with pytest.raises(ValueError, match=complaint):
        MODELS.build(tinymim(**other))


def test_wrong_inputs():
    model = build()
    with pytest.raises(ValueError, match='got 3'):
        model.loss([images()] * 3)
    with pytest.raises(ValueError, match=r'grid of \(1, 5, 4\).*img_size'):
        model.loss(torch.zeros(1, 3, 80, 64))
    with pytest.raises(RuntimeError, match="got 'predict'"):
        model(images(), mode='predict')
    with pytest.raises(ValueError, match=r'student has .* teacher'):
        TokenRelationLoss()(torch.zeros(3, 1, 2, 5, 4), torch.zeros(3, 1, 3, 5, 4))
