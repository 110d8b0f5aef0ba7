"""A tiny TinyMIM for tests: the golden one's sizes, through configs."""

from typing import Any


def vit(embed_dims: int = 48, depth: int = 12, num_heads: int = 3, **other: Any) -> dict:
    """Config of a ViT over images of 64x64: a class token and 16 patches."""
    arch = dict(
        embed_dims=embed_dims,
        num_layers=depth,
        num_heads=num_heads,
        feedforward_channels=4 * embed_dims,
    )
    return dict(type='amd_mm.ImageVisionTransformer', arch=arch, img_size=64, **other)


def teacher(block: int = 5, num_heads: int = 4, **other: Any) -> dict:
    """Config of a teacher of random weights, with 6 blocks."""
    cfg = dict(
        type='amd_mm.RelationTeacher',
        backbone=vit(64, 6, 4),
        block=block,
        num_heads=num_heads,
        random_init=True,
    )
    return dict(cfg, **other)


def tinymim(**other: Any) -> dict:
    """Config of TinyMIM: 12 blocks learn from block 5 of 6."""
    cfg = dict(
        type='amd_mm.TinyMIM',
        data_preprocessor=dict(
            type='mmpretrain.SelfSupDataPreprocessor',
            mean=[123.675, 116.28, 103.53],
            std=[58.395, 57.12, 57.375],
        ),
        backbone=vit(),
        teacher=teacher(),
        last_heads=4,
    )
    return dict(cfg, **other)
