"""The shipped configs, small enough for a test.

Depths, layers, mask ratios, patch size, transforms, hooks, optimiser and schedule stay as they
are. Widths, clips or images, batches and data are small, weights are random. The quickstart's
configs are small already: only their batch and data change.
"""

import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from amd_mm.models.teachers import randomize_teachers, teacher_configs
from mmengine.config import Config

from .shrink_detection import is_detection, make_ava, shrink_detection
from .shrink_image import _shrink_backbone, is_image, make_images, shrink_image

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIGS = REPOSITORY / 'configs'
# 2 x 5 x 5 tokens, for which all mask ratios give different counts.
FRAMES, SIDE, VIEWS = 4, 80, 2
VIDEOS = 'data/videos'
_PER_SET = 4
_HEADS = 2


def all_configs() -> list[Path]:
    """Every config that can be run."""
    return sorted(path for path in CONFIGS.rglob('*.py') if '_base_' not in path.parts)


@cache
def read_once(path: Path) -> Config:
    """A config, which all tests of a process share and must not change."""
    return Config.fromfile(path)


def shrink(cfg: Config, data: Path) -> Config:
    """Make a config small, in place.

    Args:
        cfg: of any kind.
        data: from :func:`make_data`.
    """
    for scheduler in cfg.param_scheduler:  # a shorter run follows the schedule of the whole one
        scheduler.setdefault('end', cfg.train_cfg.get('max_epochs', cfg.train_cfg.get('max_iters')))
    if is_detection(cfg):
        return shrink_detection(cfg, data)
    if is_image(cfg):
        return shrink_image(cfg, data)
    small = cfg.model.backbone.img_size <= SIDE  # the quickstart
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if cfg.get(key) is None:
            continue
        loader = cfg[key]
        loader.update(
            batch_size=2 if key == 'train_dataloader' else 1,
            num_workers=0,
            persistent_workers=False,
        )
        root = data / loader.dataset.data_root
        loader.dataset.data_root = str(root if root.is_dir() else data / VIDEOS)
        if not small:
            _shrink_pipeline(loader.dataset.pipeline)
    cfg.model.backbone.pretrained = None
    randomize_teachers(cfg.model)
    if not small:
        _shrink_model(cfg.model)
    return cfg


def views_of(cfg: Config) -> int:
    """How many views a config makes of each video."""
    return cfg.train_dataloader.dataset.pipeline[-1].get('num_views', 1)


def _shrink_pipeline(pipeline: list[dict]) -> None:
    for transform in _transforms(pipeline):
        for key, value in dict(
            clip_len=FRAMES, input_size=SIDE, crop_size=SIDE, min_frames=FRAMES, num_views=VIEWS
        ).items():
            if key in transform:
                transform[key] = value
        if 'scale' in transform:  # -1: in proportion
            transform.scale = tuple(min(side, SIDE) for side in transform.scale)


def _shrink_model(model: dict) -> None:
    for key, value in model.items():
        if key in ('backbone', 'decoder') and isinstance(value, dict):
            value['embed_dims'] = _narrow(value['embed_dims'])
            value['num_heads'] = _HEADS
            if key == 'backbone':
                value.update(img_size=SIDE, num_frames=FRAMES)
        elif key == 'cls_head':
            value['in_channels'] = _narrow(value['in_channels'])
        elif key == 'teacher':
            for teacher in teacher_configs(model):
                _shrink_teacher(teacher)


def _shrink_teacher(teacher: dict) -> None:
    if 'Frozen' in teacher.type:
        _shrink_model(teacher)
        return
    if 'model' in teacher:  # timm's or transformers': their ViT-B is replaced by one of ours
        teacher.type = 'amd_mm.ImageTeacher'
        del teacher['model']
        teacher.backbone = dict(type='amd_mm.ImageVisionTransformer')
        teacher.backbone.arch = 'base'
    _shrink_backbone(teacher.backbone)


def _narrow(width: int) -> int:
    """192 -> 16, 384 -> 32, 768 -> 48, 1024 -> 64."""
    return 16 * math.ceil(width / 256)


def _transforms(pipeline: list[dict]) -> Iterator[dict]:
    for transform in pipeline:
        yield transform
        yield from _transforms(transform.get('transforms', []))


def make_data(folder: Path, make_video) -> Path:
    """Tiny data sets in the layouts that the configs name.

    Args:
        folder: empty; ``data_root`` of a config is below it.
        make_video: the fixture of ``tests/conftest.py``.
    """
    videos, frames = folder / VIDEOS, folder / 'frames'
    for index in range(_PER_SET):
        make_video(str(videos / f'{index}.mp4'), frames=20, seed=index)
        _write_frames(frames / str(index), index)
    lists = dict(
        videos=''.join(f'{index}.mp4 {index}\n' for index in range(_PER_SET)),
        rawframes=''.join(f'{index} 20 {index}\n' for index in range(_PER_SET)),
    )
    for name, suffix, split in (
        ('kinetics400', '_train', ''),
        ('sthv2', '', ''),
        ('ucf101', '', '_split_1'),
        ('hmdb51', '', '_split_1'),
    ):
        root = folder / 'data' / name
        root.mkdir(parents=True)
        (root / f'videos{suffix}').symlink_to(videos)
        (root / f'rawframes{suffix}').symlink_to(frames)
        for part in ('train', 'val'):
            for kind, lines in lists.items():
                middle = f'{part}{split}' if split else f'{part}_list'
                (root / f'{name}_{middle}_{kind}.txt').write_text(lines)
    (folder / 'data/kinetics400/videos_val').symlink_to(videos)
    for name in ('train', 'heldout'):  # of the quickstart
        (videos / f'{name}.txt').write_text(lists['videos'])
    make_ava(folder)
    return make_images(folder)


def _write_frames(folder: Path, seed: int) -> None:
    folder.mkdir(parents=True)
    frames = np.random.default_rng(seed).integers(0, 256, (20, 48, 64, 3), dtype=np.uint8)
    for number, frame in enumerate(frames, start=1):
        cv2.imwrite(str(folder / f'img_{number:05}.jpg'), frame)
