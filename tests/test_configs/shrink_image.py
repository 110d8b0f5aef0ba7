"""The image configs, small enough for a test; see :mod:`.shrink`."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from mmengine.config import Config

SIDE = 128  # 64 tokens, of which one is left when 98 % are masked
# Name -> (width, depth, heads). 12 and 16 heads, of TinyMIM's target blocks, divide the widths.
_ARCHS = {
    'deit-tiny': (48, 12, 3),
    'deit-small': (96, 12, 6),
    'mocov3-small': (96, 12, 12),
    'base': (144, 12, 12),
    'large': (192, 24, 16),
}


def is_image(cfg: Config) -> bool:
    """Whether a config is for this module."""
    return 'arch' in cfg.model.backbone


def shrink_image(cfg: Config, data: Path) -> Config:
    """Make a config small, in place.

    Args:
        cfg: of images.
        data: below it, :func:`make_images` has written.
    """
    small = cfg.model.backbone.img_size < SIDE  # the quickstart
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if cfg.get(key) is None:
            continue
        loader = cfg[key]
        loader.update(batch_size=2, num_workers=0, persistent_workers=False)
        root = data / loader.dataset.data_root
        loader.dataset.data_root = str(root if root.is_dir() else data / 'data/imagenet/train')
        for transform in _transforms(loader.dataset.pipeline) if not small else ():
            for size in ('scale', 'crop_size'):
                if size in transform:
                    transform[size] = SIDE
    if 'base_momentum' in cfg.model or 'layer_cfgs' in cfg.model.backbone:
        # Some gradients of two images are zero: MoCo v3's batch norm makes -1 and 1 of them, and
        # TinyMIM's drop path may drop both.
        cfg.train_dataloader.batch_size = 4
    if small:
        cfg.model.backbone.pretrained = None
        if 'teacher' in cfg.model:
            cfg.model.teacher.update(checkpoint=None, random_init=True)
    else:
        _shrink_model(cfg.model)
    return cfg


def _shrink_model(model: dict) -> None:
    width = _ARCHS[model.backbone.arch][0]
    _shrink_backbone(model.backbone)
    if model.get('decoder'):
        model.decoder.update(embed_dims=64, num_heads=4)
    if 'teacher' in model:
        model.teacher.update(checkpoint=None, random_init=True)
        if 'classifier' in model.teacher:
            _shrink_model(model.teacher.classifier)
        else:
            _shrink_backbone(model.teacher.backbone)
    if 'input_features' in model.get('neck', {}):
        model.neck.input_features = width
    if 'in_channels' in (model.get('head') or {}):
        model.head.in_channels = width
    if 'hid_channels' in model.get('neck', {}):  # MoCo v3
        model.neck.update(in_channels=width, hid_channels=32, out_channels=16)
        model.head.predictor.update(in_channels=16, hid_channels=32, out_channels=16)


def _shrink_backbone(backbone: dict) -> None:
    width, depth, heads = _ARCHS[backbone.arch]
    if 'pretrained' in backbone:
        backbone.pretrained = None
    backbone.update(
        img_size=SIDE,
        arch=dict(
            embed_dims=width, num_layers=depth, num_heads=heads, feedforward_channels=2 * width
        ),
    )


def _transforms(pipeline: list) -> Iterator[dict]:
    for transform in pipeline:
        if isinstance(transform, list):  # a view of MultiView
            yield from _transforms(transform)
            continue
        yield transform
        yield from _transforms(transform.get('transforms', []))


def make_images(folder: Path, per_class: int = 2) -> Path:
    """Tiny images in ImageNet's layout, ``data/imagenet/{train,val}``: a folder per class."""
    rng = np.random.default_rng(0)
    for split in ('train', 'val'):
        for label in range(3):
            place = folder / 'data/imagenet' / split / f'n{label:08}'
            place.mkdir(parents=True, exist_ok=True)
            for number in range(per_class):
                coarse = rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)
                coarse[..., label] //= 2
                cv2.imwrite(str(place / f'{number}.jpg'), cv2.resize(coarse, (96, 88)))
    return folder
