"""Tiny image models for tests: the real classes, through configs."""

from typing import Any

from .tiny import MEAN, STD


def image_backbone(embed_dims: int = 48, depth: int = 4, num_heads: int = 3, **other: Any) -> dict:
    """Config of a ViT over images of 64x64: a grid of (1, 4, 4) tokens."""
    cfg = dict(
        type='amd_mm.ImageVisionTransformer',
        arch=dict(
            embed_dims=embed_dims,
            num_layers=depth,
            num_heads=num_heads,
            feedforward_channels=4 * embed_dims,
        ),
        img_size=64,
    )
    cfg.update(other)
    return cfg


def image_preprocessor() -> dict:
    return dict(type='mmpretrain.SelfSupDataPreprocessor', mean=MEAN, std=STD, to_rgb=True)


def mae(**other: Any) -> dict:
    """Config of MAE, 75 % masked."""
    cfg = dict(
        type='amd_mm.MaskedAutoencoder',
        data_preprocessor=image_preprocessor(),
        backbone=image_backbone(),
        mask_generator=dict(type='amd_mm.AsymmetricRandomMaskGenerator', student_ratio=0.75),
        decoder=dict(
            type='amd_mm.PixelDecoder',
            embed_dims=32,
            depth=2,
            num_heads=4,
            key_bias=True,
            embed_bias=True,
        ),
        head=dict(type='amd_mm.PixelReconstructionHead', target='per_patch'),
    )
    cfg.update(other)
    return cfg


def dmae(**other: Any) -> dict:
    """Config of DMAE as released, with a teacher of random weights."""
    cfg = mae(
        type='amd_mm.AMD',
        teacher=dict(
            type='amd_mm.FrozenTeacher', backbone=image_backbone(64, 6, 4), random_init=True
        ),
        neck=dict(
            type='amd_mm.DirectAlignment',
            hidden=False,
            loss=dict(type='amd_mm.FeatureAlignmentLoss', distance='l1', normalize=True),
            init_cfg=None,
        ),
        layer_pairs=[(3, 4)],
    )
    cfg.update(other)
    return cfg


def image_amd(**other: Any) -> dict:
    """Config of AMD on images: 75 % and 50 % masked."""
    cfg = dmae(
        neck=dict(type='amd_mm.SerialAlignment', generator_depth=1),
        mask_generator=dict(
            type='amd_mm.AsymmetricRandomMaskGenerator', student_ratio=0.75, teacher_ratio=0.5
        ),
        layer_pairs=[(2, 3), (4, 6)],
    )
    cfg.update(other)
    return cfg
