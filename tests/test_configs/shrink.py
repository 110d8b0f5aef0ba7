"""The real configs, small enough for a test.

Depths, layers, ratios, patch size, transforms, hooks, optimiser and schedule are
left as they are. Starting weights and the teacher's are random. Smaller are:
widths (8 to 32), the clip (4 frames of 80 x 80 pixels: 2 x 5 x 5 tokens, on
which all ratios give different counts), the batch (2 videos x 2 views; 1 in
tests) and the data, which is looked for in the layout that the config names,
below a folder of ours. What is that small already (the quickstart) keeps its
model and pipeline.
"""

import math
import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from mmengine.config import Config

from .shrink_detection import is_detection, make_ava, shrink_detection
from .shrink_image import is_image, make_image_folder, shrink_image
from .shrink_tinymim import is_tinymim, make_images, shrink_tinymim

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIGS = REPOSITORY / 'configs'
FRAMES, SIDE, VIEWS = 4, 80, 2
VIDEOS = 'data/videos'
_PER_SET = 4
_HEADS = 2


def all_configs() -> list[Path]:
    """Every config that can be run, found by walking."""
    return sorted(path for path in CONFIGS.rglob('*.py') if '_base_' not in path.parts)


def shrink(cfg: Config, data: Path) -> Config:
    """Make a config small; see the module.

    Args:
        cfg (Config): Changed in place.
        data (Path): From :func:`make_data`.

    Returns:
        Config: The same.
    """
    if is_detection(cfg):
        return shrink_detection(cfg, data)
    if is_tinymim(cfg):
        return shrink_tinymim(cfg, data)
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
    if cfg.model.get('teacher'):
        cfg.model.teacher.update(checkpoint=None, random_init=True)
    if not small:
        _shrink_model(cfg.model)
    return cfg


def views_of(cfg: Config) -> int:
    """How often a config samples each decoded clip."""
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
            _shrink_model(value)


def _narrow(width: int) -> int:
    """192 -> 8, 384 -> 16, 768 -> 24, 1024 -> 32."""
    return 8 * math.ceil(width / 256)


def _transforms(pipeline: list[dict]) -> Iterator[dict]:
    for transform in pipeline:
        yield transform
        yield from _transforms(transform.get('transforms', []))


def make_data(folder: Path, make_video) -> Path:
    """Tiny data sets in the layouts that the configs name.

    Args:
        folder (Path): Empty.
        make_video (Callable): Writes a video, see ``tests/conftest.py``.

    Returns:
        Path: The folder; ``data_root`` of a config is below it.
    """
    for name, prefix, rawframes, split in (
        ('kinetics400', 'videos_train', 'rawframes_train', ''),
        ('sthv2', 'videos', 'rawframes', ''),
        ('ucf101', 'videos', 'rawframes', '_split_1'),
        ('hmdb51', 'videos', 'rawframes', '_split_1'),
    ):
        root = folder / 'data' / name
        lines, frame_lines = [], []
        for index in range(_PER_SET):
            make_video(str(root / prefix / f'{index}.mp4'), frames=20, seed=index)
            _write_frames(root / rawframes / str(index), index)
            lines.append(f'{index}.mp4 {index}')
            frame_lines.append(f'{index} 20 {index}')
        for kind, text in (('videos', lines), ('rawframes', frame_lines)):
            for part in ('train', 'val'):
                middle = f'{part}_list' if not split else f'{part}{split}'
                list_file = root / f'{name}_{middle}_{kind}.txt'
                list_file.write_text('\n'.join(text))
    shutil.copytree(
        folder / 'data/kinetics400/videos_train', folder / 'data/kinetics400/videos_val'
    )
    make_image_folder(folder)
    make_ava(folder)
    shutil.copytree(folder / 'data/sthv2/videos', folder / VIDEOS)
    for name in ('train', 'heldout'):  # of the quickstart
        (folder / VIDEOS / f'{name}.txt').write_text('\n'.join(lines))
    return make_images(folder)


def _write_frames(folder: Path, seed: int) -> None:
    folder.mkdir(parents=True)
    frames = np.random.default_rng(seed).integers(0, 256, (20, 48, 64, 3), dtype=np.uint8)
    for number, frame in enumerate(frames, start=1):
        cv2.imwrite(str(folder / f'img_{number:05}.jpg'), frame)
