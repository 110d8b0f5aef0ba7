"""Image configs (MAE, DMAE, AMD, classifiers), small enough for a test.

Depths, head counts, layers, ratios, patch size, transforms, hooks, optimiser and
schedule are left as they are. Smaller are: widths (48 to 192), images (128 x
128: 64 tokens, of which one is left when 98 % are masked), the batch and the
data. The teacher gets random weights, fine-tuning starts from them.
"""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from mmengine.config import Config

SIDE = 128
# Name -> (width, depth, heads).
_ARCHS = {
    'deit-tiny': (48, 12, 3),
    'deit-small': (96, 12, 6),
    'mocov3-small': (96, 12, 12),
    'base': (144, 12, 12),
    'large': (192, 24, 16),
}
_LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def is_image(cfg: Config) -> bool:
    """Whether a config is for this module."""
    return 'arch' in cfg.model.backbone and 'tinymim' not in Path(cfg.filename).parts


def shrink_image(cfg: Config, data: Path) -> Config:
    """Make a config small; see the module.

    Args:
        cfg (Config): Changed in place.
        data (Path): From ``make_data``.

    Returns:
        Config: The same.
    """
    for key in _LOADERS:
        if cfg.get(key) is None:
            continue
        loader = cfg[key]
        loader.update(batch_size=2, num_workers=0, persistent_workers=False)
        loader.dataset.data_root = str(data / loader.dataset.data_root)
        for transform in _transforms(loader.dataset.pipeline):
            for size in ('scale', 'crop_size'):
                if size in transform:
                    transform[size] = SIDE
    if 'hid_channels' in cfg.model.get('neck', {}):  # MoCo v3
        # Of two images batch norm makes -1 and 1: some gradients are zero.
        cfg.train_dataloader.batch_size = 4
    _shrink_model(cfg.model)
    return cfg


def _shrink_model(model: dict) -> None:
    width = _ARCHS[model.backbone.arch][0]
    _shrink_backbone(model.backbone)
    if 'decoder' in model:
        model.decoder.update(embed_dims=64, num_heads=4)
    if 'teacher' in model:
        model.teacher.update(checkpoint=None, random_init=True)
        if 'classifier' in model.teacher:
            _shrink_model(model.teacher.classifier)
        else:
            _shrink_backbone(model.teacher.backbone)
    if 'input_features' in model.get('neck', {}):
        model.neck.input_features = width
    if 'in_channels' in model.get('head', {}):
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


def make_image_folder(folder: Path) -> Path:
    """A folder of a few tiny images, nested, in the place that configs name.

    Args:
        folder (Path): ``data/images`` is made below it.

    Returns:
        Path: The folder.
    """
    rng = np.random.default_rng(0)
    for index in range(4):
        place = folder / 'data/images' / ('more' if index % 2 else '')
        place.mkdir(parents=True, exist_ok=True)
        coarse = rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)
        cv2.imwrite(
            str(place / f'{index}.{("png", "jpg")[index // 2]}'), cv2.resize(coarse, (144, 132))
        )
    return folder
