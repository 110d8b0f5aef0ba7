"""Tiny models for tests: the real classes, through configs."""

import copy
from typing import Any

import torch
from amd_mm.registry import MODELS
from mmaction.structures import ActionDataSample
from torch import nn

MEAN = [123.675, 116.28, 103.53]
STD = [58.395, 57.12, 57.375]


def backbone(embed_dims: int = 48, depth: int = 4, num_heads: int = 3, **other: Any) -> dict:
    """Config of a ViT over 8 frames of 64x64: a grid of (4, 4, 4) tokens."""
    return dict(
        type='amd_mm.VideoVisionTransformer',
        img_size=64,
        embed_dims=embed_dims,
        depth=depth,
        num_heads=num_heads,
        num_frames=8,
        use_mean_pooling=False,
        **other,
    )


def preprocessor() -> dict:
    return dict(type='mmaction.ActionDataPreprocessor', mean=MEAN, std=STD, format_shape='NCTHW')


def videomae(**other: Any) -> dict:
    """Config of a masked autoencoder, 75 % masked."""
    cfg = dict(
        type='amd_mm.MaskedAutoencoder',
        data_preprocessor=preprocessor(),
        backbone=backbone(),
        mask_generator=dict(type='amd_mm.AsymmetricTubeMaskGenerator', student_ratio=0.75),
        decoder=dict(type='amd_mm.PixelDecoder', embed_dims=24, depth=2, num_heads=3),
        head=dict(type='amd_mm.PixelReconstructionHead'),
    )
    cfg.update(other)
    return cfg


def amd(neck: str = 'SerialAlignment', **other: Any) -> dict:
    """Config of AMD: 75 % and 50 % masked, a teacher of random weights."""
    if neck != 'DirectAlignment':
        neck_cfg = dict(type=f'amd_mm.{neck}', generator_depth=1)
    else:
        neck_cfg = dict(type=f'amd_mm.{neck}')
    cfg = videomae(
        type='amd_mm.AMD',
        teacher=dict(type='amd_mm.FrozenTeacher', backbone=backbone(64, 6, 1), random_init=True),
        neck=neck_cfg,
        layer_pairs=[(2, 3), (4, 6)],
    )
    cfg['mask_generator'] = dict(cfg['mask_generator'], teacher_ratio=0.5)
    cfg.update(other)
    return cfg


def mvd(**other: Any) -> dict:
    """Config of MVD, two teachers of random weights: the sizes of the golden ``mvd_video``."""
    sizes = dict(img_size=48, num_frames=16)
    video = dict(backbone(80, 3, 2), **sizes)
    image = dict(
        type='amd_mm.ImageVisionTransformer',
        img_size=48,
        arch=dict(embed_dims=64, num_layers=2, num_heads=4, feedforward_channels=256),
    )
    cfg = dict(
        type='amd_mm.AMD',
        data_preprocessor=preprocessor(),
        backbone=dict(backbone(), **sizes, pos_embed_type='sincos_3d_mvd'),
        mask_generator=dict(
            type='amd_mm.AsymmetricTubeMaskGenerator', student_ratio=0.7, teacher_ratio=0.0
        ),
        teacher=dict(
            image=dict(type='amd_mm.ImageTeacher', backbone=image, random_init=True),
            video=dict(type='amd_mm.FrozenTeacher', backbone=video, random_init=True),
        ),
        neck=dict(type='amd_mm.MaskedTokenDecoder', num_heads=3),
        layer_pairs=dict(image=[(4, 2)], video=[(4, 3)]),
        rec_weight=0.0,
    )
    cfg.update(other)
    return cfg


def build(cfg: dict) -> nn.Module:
    """Build a model and initialise it, with seed 0."""
    torch.manual_seed(0)
    model = MODELS.build(copy.deepcopy(cfg))
    model.init_weights()
    return model


def batch(clips: int = 2) -> dict:
    """A batch as MMAction2 packs it: uint8 (1, C, T, H, W) for each sample."""
    generator = torch.Generator().manual_seed(1)
    shape = 1, 3, 8, 64, 64
    inputs = [
        torch.randint(256, shape, generator=generator, dtype=torch.uint8) for _ in range(clips)
    ]
    return dict(inputs=inputs, data_samples=[ActionDataSample() for _ in range(clips)])
