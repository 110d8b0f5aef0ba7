"""TinyMIM's configs and the image quickstart's, small enough for a test.

Depths, head counts, target blocks, patch size, transforms, hooks, optimiser
and schedule are left as they are. Smaller are: widths (48 to 192, which 12 and
16 heads divide), images (80 x 80: 25 tokens and the class token), the batch
and the data. The teacher gets random weights, fine-tuning starts from them.
What is that small already (the quickstart) keeps its model and pipeline.
"""

from pathlib import Path

import cv2
import numpy as np
from mmengine.config import Config

SIDE = 80
_WIDTHS = {'deit-tiny': 48, 'deit-small': 96, 'base': 144, 'large': 192}
_DEPTHS = {'large': 24}
_HEADS = {'deit-tiny': 3, 'deit-small': 6, 'base': 12, 'large': 16}
_FOLDERS = {'tinymim', 'quickstart_image'}
_LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def is_tinymim(cfg: Config) -> bool:
    """Whether a config is for this module."""
    return not _FOLDERS.isdisjoint(Path(cfg.filename or '').parts)


def shrink_tinymim(cfg: Config, data: Path) -> Config:
    """Make a config small; see the module.

    Args:
        cfg (Config): Changed in place.
        data (Path): Below it :func:`make_images` wrote.

    Returns:
        Config: The same.
    """
    small = cfg.model.backbone.img_size <= SIDE  # the quickstart
    for key in _LOADERS:
        if key not in cfg:
            continue
        loader = cfg[key]
        loader.update(batch_size=2, num_workers=0, persistent_workers=False)
        root = 'data/imagenet/train' if small else loader.dataset.data_root
        loader.dataset.data_root = str(data / root)
        for transform in loader.dataset.pipeline if not small else ():
            for size in ('scale', 'crop_size'):
                if size in transform:
                    transform[size] = SIDE
    cfg.model.backbone.pretrained = None
    if 'teacher' in cfg.model:
        cfg.model.teacher.update(checkpoint=None, random_init=True)
    if small:
        return cfg
    if 'in_channels' in cfg.model.head:
        cfg.model.head.in_channels = _WIDTHS[cfg.model.backbone.arch]
    _shrink_backbone(cfg.model.backbone)
    if 'teacher' in cfg.model:
        _shrink_backbone(cfg.model.teacher.backbone)
    return cfg


def _shrink_backbone(backbone: dict) -> None:
    arch = backbone['arch']
    backbone.update(
        img_size=SIDE,
        arch=dict(
            embed_dims=_WIDTHS[arch],
            num_layers=_DEPTHS.get(arch, 12),
            num_heads=_HEADS[arch],
            feedforward_channels=2 * _WIDTHS[arch],
        ),
    )


def make_images(folder: Path, per_class: int = 2) -> Path:
    """Tiny images in ImageNet's layout: train and val, a folder a class.

    Args:
        folder (Path): ``data/imagenet`` is made below it.
        per_class (int): Images of each of the three classes.

    Returns:
        Path: The folder.
    """
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
