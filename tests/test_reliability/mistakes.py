"""A newcomer's first project, and everything that can be wrong in it."""

import io
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from pprint import pformat

import torch
from amd_mm.registry import MODELS

from tests import tiny
from tests.test_configs.shrink import CONFIGS

NUM_CLASSES = 4
_SAMPLING = dict(type='mmaction.SampleFrames', clip_len=8, frame_interval=1, num_clips=1)
_READING = [dict(type='amd_mm.VideoInit'), _SAMPLING, dict(type='amd_mm.VideoDecode')]
_PACKING = [
    dict(type='mmaction.Resize', scale=(64, 64), keep_ratio=False),
    dict(type='mmaction.FormatShape', input_format='NCTHW'),
    dict(type='mmaction.PackActionInputs'),
]
_OPTIMIZER = dict(
    type='amd_mm.GuardedOptimWrapper',
    optimizer=dict(type='mmengine.AdamW', lr=1e-3),
    precision='fp32',
)


def _loader(dataset: dict, **other: object) -> dict:
    return dict(
        batch_size=2,
        num_workers=0,
        drop_last=True,
        collate_fn=dict(type='amd_mm.flatten_views_collate'),
        dataset=dataset,
        **other,
    )


def _pretraining(folder: Path) -> dict:
    views = dict(type='amd_mm.RepeatedViews', num_views=2, transforms=_PACKING)
    return dict(
        num_views=2,
        model=tiny.amd(),
        train_dataloader=_loader(
            dict(
                type='amd_mm.VideoFolderDataset',
                data_root=str(folder / 'videos'),
                pipeline=[*_READING, views],
            ),
            sampler=dict(type='amd_mm.EpochSeededSampler'),
        ),
        train_cfg=dict(type='mmengine.EpochBasedTrainLoop', max_epochs=1),
        optim_wrapper=_OPTIMIZER,
    )


def _recognition(folder: Path) -> dict:
    data = dict(
        type='amd_mm.VideoListDataset',
        ann_file=str(folder / 'list.txt'),
        data_prefix=dict(video=str(folder / 'videos')),
        num_classes=NUM_CLASSES,
        pipeline=_READING + _PACKING,
    )
    return dict(
        model=dict(
            type='mmaction.Recognizer3D',
            data_preprocessor=tiny.preprocessor(),
            backbone=dict(tiny.backbone(), use_mean_pooling=True),
            cls_head=dict(
                type='mmaction.TimeSformerHead',
                num_classes=NUM_CLASSES,
                in_channels=48,
                average_clips='prob',
            ),
        ),
        train_dataloader=_loader(data, sampler=dict(type='amd_mm.EpochSeededSampler')),
        test_dataloader=_loader(
            dict(data, test_mode=True), sampler=dict(type='mmengine.DefaultSampler', shuffle=False)
        ),
        test_cfg=dict(type='mmengine.TestLoop'),
        test_evaluator=dict(type='mmaction.AccMetric'),
        train_cfg=dict(type='mmengine.EpochBasedTrainLoop', max_epochs=1),
        optim_wrapper=_OPTIMIZER,
    )


def _write_config(path: Path, entries: dict[str, object]) -> None:
    base = CONFIGS / '_base_/runtime/pretrain.py'
    lines = [f'_base_ = {str(base)!r}']
    lines += [f'{key} = {pformat(value, width=79)}' for key, value in entries.items()]
    path.write_text('\n'.join(lines) + '\n')


def _state(cfg: dict) -> dict[str, torch.Tensor]:
    return MODELS.build(cfg).state_dict()


def _write_checkpoints(folder: Path) -> None:
    """Teachers: a good one, and what people take for one."""
    teacher = dict(tiny.amd()['teacher']['backbone'])
    good = {f'backbone.{k}': v for k, v in _state(teacher).items()}
    torch.save(dict(state_dict=good), folder / 'teacher.pth')
    small = {f'backbone.{k}': v for k, v in _state(tiny.backbone(24, 2)).items()}
    torch.save(dict(state_dict=small), folder / 'small.pth')
    torch.save(dict(state_dict={'conv1.weight': torch.ones(4, 3, 7, 7)}), folder / 'resnet.pth')
    torch.save(torch.ones(3), folder / 'tensor.pth')
    whole = (folder / 'teacher.pth').read_bytes()
    (folder / 'truncated.pth').write_bytes(whole[: len(whole) // 2])
    (folder / 'garbage.pth').write_bytes(b'\x07garbage' * 100)
    (folder / 'empty.pth').touch()
    (folder / 'page.pth').write_text('<!DOCTYPE html><title>Log in</title>')
    (folder / 'pointer.pth').write_text(
        'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n'
    )
    (folder / 'folder.pth').mkdir()
    content = io.BytesIO()
    with zipfile.ZipFile(content, 'w') as archive:
        archive.writestr('readme.txt', 'weights are elsewhere')
    (folder / 'archive.pth').write_bytes(content.getvalue())
    for name, cfg in (('pretrained', tiny.videomae()), ('student', tiny.amd())):
        torch.save(dict(state_dict=_state(cfg)), folder / f'{name}.pth')


def _write_data(folder: Path, make_video: Callable[..., str]) -> None:
    videos = folder / 'videos'
    names = [f'{index}.mp4' for index in range(4)]
    for index, name in enumerate(names):
        make_video(str(videos / name), frames=12, seed=index)
    labels = [f'{name} {index}' for index, name in enumerate(names)]

    def write_list(name: str, *lines: str) -> None:
        (folder / name).write_text('\n'.join(lines) + '\n')

    write_list('list.txt', *labels)
    write_list('large_label.txt', *labels[:3], f'3.mp4 {NUM_CLASSES}')
    write_list('other_classes.txt', *(f'{n} {i + 170}' for i, n in enumerate(names)))
    write_list('no_label.txt', *labels[:3], '3.mp4')
    write_list('word_label.txt', *labels[:3], '3.mp4 dancing')
    write_list('negative_label.txt', *labels[:3], '3.mp4 -3')
    write_list('empty.txt')
    write_list('lost.txt', *(f'lost/{label}' for label in labels))
    (folder / 'nothing').mkdir()
    (folder / 'pictures').mkdir()
    (folder / 'pictures/0.jpg').touch()
    for number in range(4):
        path = folder / f'unreadable/{number}.mp4'
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b'no video at all')


def make_project(folder: Path, make_video: Callable[..., str]) -> Path:
    """Configs that run, data and checkpoints, and bad ones beside them.

    Args:
        folder (Path): Empty.
        make_video (Callable): Of ``tests/conftest.py``.

    Returns:
        Path: The folder.
    """
    _write_data(folder, make_video)
    _write_checkpoints(folder)
    _write_config(folder / 'pretrain.py', _pretraining(folder))
    _write_config(folder / 'recognise.py', _recognition(folder))
    good = (folder / 'pretrain.py').read_text()
    (folder / 'syntax.py').write_text(good + 'model = dict(\n')
    (folder / 'name.py').write_text(good + 'train_cfg = dict(x=max_epochs)\n')
    (folder / 'base.py').write_text("_base_ = './not_there.py'\n")
    (folder / 'scope_base.py').write_text("_base_ = 'amd_mm::not/there.py'\n")
    (folder / 'notes.txt').write_text('not a config')
    tests_only = (folder / 'recognise.py').read_text()
    (folder / 'tests_only.py').write_text(tests_only + 'train_dataloader = None\n')
    shutil.copy(folder / 'pretrain.py', folder / 'mine.py')
    return folder
