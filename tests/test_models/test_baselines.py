"""The DMAE paper's baselines: alignment in MoCo v3 and distillation in fine-tuning."""

import copy

import pytest
import torch
import torch.nn.functional as F
from mmengine.runner import save_checkpoint

from tests.tiny import build
from tests.tiny_image import dmae, image_backbone


def classifier(*size, **other):
    """Config of a tiny ImageClassifier with three classes."""
    cfg = dict(
        type='mmpretrain.ImageClassifier',
        backbone=image_backbone(*size, out_type='avg_featmap', final_norm=False),
        head=dict(
            type='mmpretrain.LinearClsHead',
            num_classes=3,
            in_channels=size[0] if size else 48,
            init_cfg=dict(type='mmengine.Normal', layer='Linear', std=1.0),
        ),
    )
    cfg.update(other)
    return cfg


def distilled(kind, **other):
    return classifier(
        type='amd_mm.LogitDistilledClassifier',
        kind=kind,
        teacher=dict(
            type='amd_mm.FrozenClassifier', classifier=classifier(64, 6, 4), random_init=True
        ),
        **other,
    )


def aligned(**other):
    return classifier(
        type='amd_mm.AlignedClassifier',
        teacher=dmae()['teacher'],
        alignment=dmae()['neck'],
        layer_pairs=[(2, 3), (3, 6)],
        **other,
    )


@pytest.fixture(scope='module')
def images():
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope='module')
def samples():
    from mmpretrain.structures import DataSample

    return [DataSample().set_gt_label(label) for label in (0, 2)]


def distance(model, student, patches):
    """The alignment loss from its parts, one layer after the other."""
    every = torch.arange(16).expand(len(patches), -1)
    values = [
        model.alignment.loss_module(projection(mine), theirs)
        for projection, mine, theirs in zip(
            model.alignment.projections, student, model.teacher(patches, every)
        )
    ]
    return torch.stack(values).mean()


@pytest.mark.parametrize('kind', ['soft', 'hard'])
def test_the_loss_of_logits(kind, images, samples):
    model = build(distilled(kind, temperature=2.0, weight=3.0))
    losses = model.loss(images, samples)
    mine, theirs = model(images), model.teacher(images)
    labels = torch.tensor([0, 2])
    torch.testing.assert_close(losses['loss'], F.cross_entropy(mine, labels))
    if kind == 'hard':
        expected = F.cross_entropy(mine, theirs.argmax(1))
    else:
        ours, its = (mine / 2).softmax(1), (theirs / 2).softmax(1)
        expected = 4 * (its * (its / ours).log()).sum(1).mean()
    torch.testing.assert_close(losses['loss_distillation'], 3 * expected)
    losses['loss_distillation'].backward()
    assert model.backbone.layers[0].attn.qkv.weight.grad is not None
    assert not any(one.requires_grad for one in model.teacher.parameters())
    assert not any('teacher' in name for name in model.state_dict())
    assert not model.train().teacher.classifier.training
    assert model.half().teacher.classifier.head.fc.weight.dtype == torch.half


def test_alignment_of_features(images, samples):
    model = build(aligned(alignment_weight=2.0))
    losses = model.loss(images, samples)
    assert set(losses) == {'loss', 'loss_direct'}
    patches = model.backbone.patchify(images)
    student = model.backbone.encode(patches, layers=[2, 3]).layers
    torch.testing.assert_close(losses['loss_direct'], 2 * distance(model, student, patches))


def test_the_teacher_is_read_from_a_fine_tuned_file(tmp_path, images):
    fine_tuned = build(classifier(64, 6, 4))
    with torch.no_grad():
        fine_tuned.head.fc.bias.add_(1.0)
    path = str(tmp_path / 'teacher.pth')
    save_checkpoint(dict(state_dict=fine_tuned.state_dict()), path)
    cfg = distilled('soft')
    cfg['teacher'].update(checkpoint=path, random_init=False)
    model = build(cfg)
    assert torch.equal(model.teacher(images), fine_tuned.eval()(images))
    cfg = aligned()
    cfg['teacher'] = dict(cfg['teacher'], checkpoint=path, random_init=False)
    model = build(cfg)
    assert torch.equal(
        model.teacher.backbone.layers[5].ln1.weight, fine_tuned.backbone.layers[5].ln1.weight
    )


def test_mistakes():
    with pytest.raises(ValueError, match='soft.*hard.*got .warm'):
        build(distilled('warm'))
    with pytest.raises(ValueError, match='temperature must be above 0'):
        build(distilled('soft', temperature=0.0))
    cfg = distilled('soft')
    cfg['head']['num_classes'] = 4
    with pytest.raises(ValueError, match='teacher.classifier.head has 3, head has 4'):
        build(cfg)
    with pytest.raises(TypeError, match='wait'):
        build(distilled('soft', wait=2.0))


def test_moco_v3_with_alignment(images):
    neck = dict(
        type='mmpretrain.NonLinearNeck', hid_channels=32, out_channels=16, with_avg_pool=False
    )
    cfg = dict(
        type='amd_mm.AlignedMoCoV3',
        backbone=dict(
            type='mmpretrain.MoCoV3ViT', arch=image_backbone()['arch'], img_size=64, patch_size=16
        ),
        neck=dict(neck, in_channels=48),
        head=dict(
            type='mmpretrain.MoCoV3Head',
            predictor=dict(neck, in_channels=16),
            loss=dict(type='mmpretrain.CrossEntropyLoss'),
        ),
        teacher=dmae()['teacher'],
        alignment=dmae()['neck'],
        layer_pairs=[(2, 3), (3, 6)],
        alignment_weight=2.0,
    )
    model = build(cfg)
    views = [images, images.flip(3)]
    losses = model.loss(views, [])
    assert set(losses) == {'loss', 'loss_direct'}
    stock = model.backbone
    stock.out_type, stock.out_indices = 'raw', [1, 2]
    student = stock(torch.cat(views))
    patches = model.teacher.backbone.patchify(torch.cat(views))
    torch.testing.assert_close(losses['loss_direct'], 2 * distance(model, student, patches))
    losses['loss_direct'].backward()
    assert stock.layers[1].attn.qkv.weight.grad is not None
    assert not any('teacher' in name for name in model.state_dict())
    assert not stock.layers[1]._forward_hooks
    wrong = dict(cfg, layer_pairs=[(5, 6)])
    with pytest.raises(ValueError, match='student block 5, the backbone has 4'):
        build(wrong)
    wrong = copy.deepcopy(cfg)
    wrong['teacher']['backbone'].update(img_size=96)
    with pytest.raises(ValueError, match='teacher.backbone has .*backbone has'):
        build(wrong)
