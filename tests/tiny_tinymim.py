"""A tiny TinyMIM for tests: the golden one's sizes, through configs."""

from typing import Any

from .tiny_image import image_backbone, image_preprocessor


def vit(embed_dims: int = 48, depth: int = 12, num_heads: int = 3, **other: Any) -> dict:
    """Config of a ViT over images of 64x64: a class token and 16 patches."""
    return image_backbone(embed_dims, depth, num_heads, **other)


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
        data_preprocessor=image_preprocessor(),
        backbone=vit(),
        teacher=teacher(),
        last_heads=4,
    )
    return dict(cfg, **other)
