"""Data and weights that the pages' configs name, in their places and formats but tiny.

:data:`EXAMPLES` shrinks the configs accordingly.
"""

import json
from pathlib import Path

import cv2
import numpy as np
import torch
from amd_mm.checkpoints import from_amd_mm
from amd_mm.registry import MODELS
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS
from torch import nn

from tests.conftest import write_video

VIDEOS = 4
_VIDEO = dict(type='amd_mm.VideoVisionTransformer', use_mean_pooling=False)
_TEACHER = dict(_VIDEO, embed_dims=64, depth=12, num_heads=2)
_GIANT = dict(_TEACHER, depth=40, mlp_ratio=48 / 11, patch_size=14, img_size=224, num_frames=16)

_LOADER = (
    'train_dataloader.num_workers=0',
    'train_dataloader.persistent_workers=False',
    'train_dataloader.batch_size=2',
    'train_cfg.max_epochs=1',
)
_DECODER = ('model.decoder.embed_dims=24', 'model.decoder.depth=1', 'model.decoder.num_heads=3')
_STUDENT = ('model.backbone.embed_dims=48', 'model.backbone.num_heads=3')
_SMALL_TEACHER = ('model.teacher.backbone.embed_dims=64', 'model.teacher.backbone.num_heads=2')
_FLOAT32 = ('optim_wrapper.precision=fp32', 'model.teacher.dtype=float32')
_ONE_BLOCK = ('model.neck.generator_depth=1',)
_DEIT_TINY = ('model.backbone.arch=deit-tiny',)


def _small_clips(side: int, views: int = 3) -> tuple[str, ...]:
    """Smaller frames, each clip cropped once by that transform."""
    transform = f'train_dataloader.dataset.pipeline.{views}'
    return (
        f'model.backbone.img_size={side}',
        f'model.teacher.backbone.img_size={side}',
        f'{transform}.num_views=1',
        f'{transform}.transforms.0.input_size={side}',
        f'{transform}.transforms.1.scale=({side},{side})',
    )


# Two steps end before the warm-up would.
_TWO_STEPS = (*_LOADER, 'param_scheduler=None')
_VIDEO_LOADER = (*_TWO_STEPS, *_FLOAT32, *_DECODER, *_SMALL_TEACHER)
_PRETRAIN = (*_VIDEO_LOADER, *_STUDENT, *_small_clips(96))

# How each config of the pages is shrunk to seconds.
EXAMPLES: dict[str, tuple[str, ...]] = {
    'more_seen': (*_PRETRAIN, *_ONE_BLOCK, 'default_scope=amd_mm'),
    'for_any_program': (
        *_LOADER[:3],
        'train_cfg.max_iters=2',
        'param_scheduler=None',
        'train_dataloader.dataset.data_root=data/videos',
    ),
    'on_my_videos': (
        *_PRETRAIN,
        *_ONE_BLOCK,
        'model.teacher.checkpoint=None',
        'model.teacher.random_init=True',
    ),
    'on_raw_frames': (
        *_VIDEO_LOADER,
        *_STUDENT,
        *_ONE_BLOCK,
        *_small_clips(96, views=2),
        'model.teacher.checkpoint=None',
        'model.teacher.random_init=True',
    ),
    'narrow_student': (*_VIDEO_LOADER, *_ONE_BLOCK, *_small_clips(96)),
    'from_giant': (*_VIDEO_LOADER, *_STUDENT, *_ONE_BLOCK, *_small_clips(98)),
    'from_mmpretrain': (
        *_TWO_STEPS,
        *_FLOAT32,
        *_DECODER,
        *_DEIT_TINY,
        'model.teacher.backbone.arch=deit-tiny',
    ),
    'in_mmaction': (*_LOADER, *_STUDENT, 'model.cls_head.in_channels=48'),
    'in_mmpretrain': (
        *_LOADER,
        *_DEIT_TINY,
        'model.head.in_channels=192',
        'train_dataloader.dataset.indices=4',
    ),
    'in_mmdet': (
        *_LOADER,
        *_DEIT_TINY,
        'model.neck.in_channels=[192]',
        'train_dataloader.dataset.pipeline.2.scale=(128,128)',
    ),
    'with_my_neck': (*_PRETRAIN, 'default_scope=mmpretrain'),
    'with_my_lab': (*_PRETRAIN, *_ONE_BLOCK),
    'two_teachers': (
        *_TWO_STEPS,
        *_FLOAT32[:1],
        *_DECODER,
        *_STUDENT,
        *(option.replace('.teacher.', '.teacher.video.') for option in _SMALL_TEACHER),
        *(option.replace('.teacher.', '.teacher.video.') for option in _small_clips(96)),
        'model.teacher.video.dtype=float32',
        'model.neck.video.generator_depth=1',
    ),
    'extended': (*_VIDEO_LOADER, *_STUDENT, *_small_clips(96, views=4)),
}


def _ours(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f'backbone.{name}': value for name, value in state.items()}


def _encoder(cfg: dict) -> dict[str, torch.Tensor]:
    """A backbone's weights, in the names of a pre-training checkpoint."""
    return _ours(MODELS.build(cfg).state_dict())


def _image_vit() -> nn.Module:
    """A stock ViT of MMPretrain's, and nothing of ours."""
    return MMPRETRAIN_MODELS.build(dict(type='mmpretrain.VisionTransformer', arch='deit-tiny'))


def write_checkpoints(folder: Path) -> None:
    """Write the weights that the pages name, in their formats, to ``folder/checkpoints``."""
    torch.manual_seed(0)
    folder = folder / 'checkpoints'
    folder.mkdir()
    ours = {
        'videomae_vit-base_k400-1600e.pth': _encoder(_TEACHER),
        'student-video.pth': _encoder(dict(_VIDEO, embed_dims=48, depth=12, num_heads=3)),
        'student-image.pth': _ours(_image_vit().state_dict()),
        'vit-base-p16_mmpretrain.pth': _ours(_image_vit().state_dict()),
    }
    for name, state in ours.items():
        torch.save(dict(state_dict=state), folder / name)
    # VideoMAE v2 has VideoMAE's names, and another wrapper around them.
    giant = from_amd_mm(_encoder(_GIANT), 'videomae').state
    torch.save(dict(module=giant), folder / 'vit_g_hybrid_pt_1200e.pth')


def write_data(folder: Path) -> None:
    """Write the videos, images and lists that the pages' configs name to ``folder/data``."""
    data = folder / 'data'
    names = [f'{number}.mp4' for number in range(VIDEOS)]
    for seed, name in enumerate(names):
        write_video(data / 'videos' / name, frames=40, seed=seed)
    kinetics = data / 'kinetics400'
    kinetics.mkdir()
    (kinetics / 'videos_train').symlink_to(data / 'videos')
    (kinetics / 'kinetics400_train_list_videos.txt').write_text(
        ''.join(f'{name} {label}\n' for label, name in enumerate(names))
    )
    for number in range(VIDEOS):
        _write_frames(data / 'sthv2' / 'rawframes' / str(number))
    (data / 'sthv2' / 'sthv2_train_list_rawframes.txt').write_text(
        ''.join(f'{number} 40 {number}\n' for number in range(VIDEOS))
    )
    rows = [f'data/videos/{name},studio\n' for name in names]
    (data / 'videos.csv').write_text('path,source\nnowhere.mp4,street\n' + ''.join(rows))
    images = _write_images(data / 'images')
    _write_imagenet(data / 'imagenet' / 'train', images)
    _write_coco(data / 'coco', images)


def _write_frames(folder: Path) -> None:
    folder.mkdir(parents=True)
    frames = np.random.default_rng(0).integers(0, 256, (40, 96, 128, 3), dtype=np.uint8)
    for number, frame in enumerate(frames, start=1):
        cv2.imwrite(str(folder / f'img_{number:05}.jpg'), frame)


def _write_images(folder: Path) -> list[Path]:
    folder.mkdir()
    rng = np.random.default_rng(0)
    paths = [folder / f'{number}.jpg' for number in range(VIDEOS)]
    for path in paths:
        coarse = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        cv2.imwrite(str(path), cv2.resize(coarse, (128, 128)))
    return paths


def _write_imagenet(folder: Path, images: list[Path]) -> None:
    """All thousand classes, which MMPretrain counts."""
    for number in range(1000):
        one = folder / f'n{number:08d}'
        one.mkdir(parents=True)
        (one / '0.jpg').symlink_to(images[number % len(images)])


def _write_coco(folder: Path, images: list[Path]) -> None:
    (folder / 'annotations').mkdir(parents=True)
    (folder / 'train2017').symlink_to(images[0].parent)
    content = dict(
        images=[
            dict(id=number, file_name=path.name, width=128, height=128)
            for number, path in enumerate(images)
        ],
        annotations=[
            dict(
                id=number,
                image_id=number,
                category_id=1,
                bbox=[16, 24, 64, 48],
                area=64 * 48,
                iscrowd=0,
            )
            for number in range(len(images))
        ],
        categories=[dict(id=1, name='person')],
    )
    (folder / 'annotations' / 'instances_train2017.json').write_text(json.dumps(content))
