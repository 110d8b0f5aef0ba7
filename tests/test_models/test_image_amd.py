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


def test_views_of_an_image(images):
    model = build(mae())
    patches = model.patches_of([images, images + 1])
    assert patches.shape == (4, 16, 768)
    assert torch.equal(patches[0], model.patches_of(images)[0])
    assert torch.equal(patches[1], model.patches_of(images + 1)[0])


def test_reconstruction_of_an_image(images):
    model = build(mae())
    result = model.reconstruct(images)
    assert result.clip.shape == (2, 3, 1, 64, 64)
    mean, std = (one.view(-1, 1, 1) for one in model.pixel_stats())
    torch.testing.assert_close(result.clip[:, :, 0], (images * std + mean) / 255)
    changed = (result.clip != result.completed).any(1)[:, 0]
    share = changed.unflatten(1, (4, 16)).unflatten(3, (4, 16)).any(4).any(2)
    assert share.sum() == 2 * 12  # three quarters of 16 patches


def test_mistakes_name_both_sides(images):
    teacher = dict(type='amd_mm.FrozenTeacher', random_init=True)
    without = image_backbone(64, 6, 4, with_cls_token=False, out_type='raw')
    with pytest.raises(
        ValueError, match='num_extra_tokens is 0 in teacher.backbone and 1 in backbone'
    ):
        build(dmae(teacher=dict(teacher, backbone=without)))
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
