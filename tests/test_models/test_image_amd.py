"""Masked autoencoders and distillation on images: one frame, no more."""

import pytest
import torch
from amd_mm.checkpoints import CheckpointMismatchError, load_encoder
from amd_mm.registry import MODELS

from tests.tiny import backbone, build
from tests.tiny_image import dmae, image_amd, image_backbone, mae


@pytest.fixture(scope='module')
def images():
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize('cfg', [mae(), dmae(), image_amd()], ids=['mae', 'dmae', 'amd'])
def test_every_parameter_learns(cfg, images):
    model = build(cfg)
    total, _ = model.parse_losses(model.loss(images))
    total.backward()
    # Keys have a bias that no result depends on: its gradient is rounding.
    without = [name for name, one in model.named_parameters() if one.grad is None]
    assert not without
    assert not any('teacher' in name for name in model.state_dict())


def test_class_token_is_aligned_and_counts_as_seen(images):
    model = build(image_amd())
    patches = model.patches_of(images)
    partition = model.draw_partition(patches)
    assert partition.visible.shape == (2, 4)
    assert partition.teacher_only.shape == (2, 4)
    layers = model.backbone.encode(patches, partition.visible, layers=[2, 4]).layers
    aligned = model.neck(layers, partition)
    assert aligned.direct[0].shape == (2, 1 + 4, 64)
    assert aligned.generated[0].shape == (2, 4, 64)
    theirs = model.teacher(patches, partition.teacher)
    assert theirs[0].shape == (2, 1 + 8, 64)
    # The first of the teacher's is its class token, then the visible ones.
    alone = model.teacher.backbone.encode(patches, partition.teacher, layers=[3])
    torch.testing.assert_close(theirs[0], alone.layers[0])


def test_the_class_token_s_place_in_the_decoder_is_zero(images):
    model = build(mae())
    patches = model.patches_of(images)
    partition = model.draw_partition(patches)
    tokens = model.backbone.encode(patches, partition.visible).tokens
    order = torch.randperm(4)
    one = model.decoder(tokens, partition.visible, partition.hidden)
    shuffled = torch.cat([tokens[:, :1], tokens[:, 1:][:, order]], 1)
    other = model.decoder(shuffled, partition.visible[:, order], partition.hidden)
    torch.testing.assert_close(one, other)
    wrong = torch.cat([tokens[:, 1:], tokens[:, :1]], 1)
    assert not torch.allclose(one, model.decoder(wrong, partition.visible, partition.hidden))


def test_views_of_an_image(images):
    model = build(mae())
    patches = model.patches_of([images, images + 1])
    assert patches.shape == (4, 16, 768)
    assert torch.equal(patches[0], model.patches_of(images)[0])
    assert torch.equal(patches[1], model.patches_of(images + 1)[0])


@pytest.mark.parametrize('target', ['per_patch', 'pixels', 'per_channel'])
def test_reconstruction_of_an_image(target, images):
    head = dict(type='amd_mm.PixelReconstructionHead', target=target)
    model = build(mae(head=head))
    result = model.reconstruct(images)
    assert result.clip.shape == (2, 3, 1, 64, 64)
    mean, std = (one.view(-1, 1, 1) for one in model.pixel_stats())
    torch.testing.assert_close(result.clip[:, :, 0], (images * std + mean) / 255)
    changed = (result.clip != result.completed).any(1)[:, 0]
    share = changed.unflatten(1, (4, 16)).unflatten(3, (4, 16)).any(4).any(2)
    assert share.sum() == 2 * 12  # three quarters of 16 patches


@pytest.mark.parametrize('ratio, visible', [(0.75, 49), (0.9, 19), (0.95, 9), (0.98, 3)])
def test_visible_patches_are_rounded_down_as_in_mae(ratio, visible):
    generator = MODELS.build(
        dict(type='amd_mm.AsymmetricRandomMaskGenerator', student_ratio=ratio, round_down='visible')
    )
    assert generator.counts((1, 14, 14))['visible'] == visible


def test_symmetric_masks_with_a_direct_neck_need_nothing_else(images):
    """DMAE's students and teachers see the same tokens in the same order."""
    model = build(dmae())
    partition = model.draw_partition(model.patches_of(images))
    assert torch.equal(partition.teacher, partition.visible)
    assert set(model.loss(images)) >= {'loss_rec', 'loss_direct'}


def test_mistakes_name_both_sides(images):
    teacher = dict(type='amd_mm.FrozenTeacher', random_init=True)
    without = image_backbone(64, 6, 4, with_cls_token=False, out_type='raw')
    with pytest.raises(
        ValueError, match='num_extra_tokens is 0 in teacher.backbone and 1 in backbone'
    ):
        build(dmae(teacher=dict(teacher, backbone=without)))
    with pytest.raises(ValueError, match='block 18 .* from 1 to 6'):
        build(dmae(layer_pairs=[(3, 18)]))
    with pytest.raises(ValueError, match='student block 9, the backbone has 4'):
        build(dmae(layer_pairs=[(9, 6)]))
    with pytest.raises(ValueError, match='token_grid is .* in teacher'):
        build(dmae(teacher=dict(teacher, backbone=dict(image_backbone(), img_size=96))))
    with pytest.raises(ValueError, match='final_norm=True'):
        build(mae(backbone=image_backbone(out_type='avg_featmap')))
    with pytest.raises(ValueError, match='grid of .1, 5, 5.*img_size'):
        build(mae()).loss(torch.randn(1, 3, 80, 80))
    with pytest.raises(ValueError, match='masked.*visible.*got .both'):
        build(
            mae(mask_generator=dict(type='amd_mm.AsymmetricRandomMaskGenerator', round_down='both'))
        )


def test_checkpoints_of_the_wrong_kind():
    image, video = (MODELS.build(one) for one in (image_backbone(), backbone()))
    for mine, theirs, kinds in (
        (image, video, 'video ViT.*image ViT'),
        (video, image, 'image ViT.*video ViT'),
    ):
        state = {f'backbone.{name}': one for name, one in theirs.state_dict().items()}
        with pytest.raises(CheckpointMismatchError, match=kinds):
            load_encoder(mine, state)
    plain = MODELS.build(image_backbone(with_cls_token=False, out_type='raw'))
    for mine, theirs, hint in (
        (image, plain, 'with_cls_token=False'),
        (plain, image, 'with_cls_token=True'),
    ):
        with pytest.raises(CheckpointMismatchError, match=hint):
            load_encoder(mine, theirs.state_dict())
