"""From a folder of videos or images to a small model in one call.

    distill('/my/videos', 'runs/mine', teacher='videomae-base', student='vit-small')

The call chooses a shipped config, fills it in, writes it to ``out/distill.py`` and starts
``tools/train.py`` with it: the same file trains the same model without this module.
"""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from amd_mm import runs
from amd_mm.apis import (
    encoder_of,
    find_source,
    inference_config,
    load_model,
    normalisation_of,
    read_config,
)
from amd_mm.checkpoints import infer_backbone, read_checkpoint, to_amd_mm
from amd_mm.datasets.inference import read_clips, stride_of
from amd_mm.datasets.transforms import Stride
from amd_mm.errors import ConfigError
from amd_mm.zoo import shipped
from mmengine.config import Config
from mmengine.runner import Runner
from torch import Tensor

CONFIG = 'distill.py'
KINDS = ('video', 'image')
_SHARE = 0.95  # of the hours; the rest is for start and end


# Arguments of a backbone that define its tokens.
TOKENS = (
    *('img_size', 'patch_size', 'in_channels', 'num_frames', 'tubelet_size'),
    *('pos_embed_type', 'with_cls_token'),
)


@dataclass(frozen=True)
class Method:
    """The configs of a method, for videos and for images; '' if it has none."""

    video: str = ''
    image: str = ''
    teacher: bool = True
    image_teacher: bool = False

    def kinds(self) -> list[str]:
        """The kinds of data that it takes."""
        return [kind for kind in KINDS if getattr(self, kind)]


METHODS = dict(
    amd=Method(
        'amd/pretrain/amd_vit-small-p16_vit-large_32xb16v4-16x4x1-200e_k400.py',
        'amd/image/amd_image_vit-base-p16_vit-large_16xb256-800e_in1k.py',
    ),
    dmae=Method(
        'dmae/pretrain/dmae_vit-base-p16_vit-large_32xb16v4-16x4x1-200e_k400.py',
        'dmae/pretrain/dmae_vit-base-p16_vit-large_released_16xb256-100e_in1k.py',
    ),
    mvd=Method(
        'mvd/pretrain/mvd_vit-small-p16_vit-base_32xb32-16x4x1-400e_k400.py', image_teacher=True
    ),
    salt=Method('mvd/related/salt_vit-base-p16_vit-large_32xb32-16x4x1-400e_k400.py'),
    tinymim=Method(image='tinymim/pretrain/tinymim_vit-base-p16_vit-large_16xb256-300e_in1k.py'),
    videomae=Method(
        'videomae/pretrain/videomae_vit-small-p16_32xb16v4-16x4x1-200e_k400.py', teacher=False
    ),
    mae=Method(image='mae/pretrain/mae_vit-base-p16_16xb256-1600e_in1k.py', teacher=False),
)

# Width, depth and heads.
STUDENTS = {
    'vit-tiny': (192, 12, 3),
    'vit-small': (384, 12, 6),
    'vit-base': (768, 12, 12),
    'vit-large': (1024, 24, 16),
}


def distill(
    data: str,
    out: str,
    *,
    teacher: str | None = None,
    teacher_config: str | None = None,
    image_teacher: str | None = None,
    student: str = 'vit-small',
    method: str | None = None,
    epochs: int | None = None,
    steps: int | None = None,
    hours: float | None = None,
    batch: int | None = None,
    total_batch: int | None = None,
    lr: float | None = None,
    frames: int | None = None,
    size: int | None = None,
    stride: int | None = None,
    fps: float | None = None,
    precision: str = 'auto',
    devices: int | None = None,
    workers: int | None = None,
    dry_run: bool = False,
    resume: bool = False,
    options: Mapping[str, Any] | None = None,
) -> Path:
    """Train a small model on your own videos or images, with or without a teacher.

    Prints its choices and their reasons, trains, and writes pictures beside the checkpoint.

    Args:
        data: Folder of videos or images, searched recursively; or a list file (.txt), whose names
            are relative to its folder.
        out: Folder of the run: config, log, checkpoint, pictures.
        teacher: A checkpoint, a training folder, or the name of public weights (amd-mm models).
        teacher_config: The teacher's config, for a checkpoint that has none beside it and whose
            weights do not tell everything.
        image_teacher: The second teacher of mvd, which sees single frames: as ``teacher``, such as
            mae-base.
        student: vit-tiny, vit-small, vit-base or vit-large; or width,depth,heads, as in 96,4,3.
        method: amd, dmae, mvd, salt or tinymim; without a teacher videomae (videos) or mae
            (images). Default: amd if there is a teacher.
        epochs: Passes over the data. Default: those of the method's config.
        steps: Optimiser steps, instead of epochs.
        hours: Time to train, instead of epochs: a trial of some steps decides about their number.
        batch: Videos or images on a device at a time. Default: as many as fit on a GPU, found by
            trial; 8 on a CPU.
        total_batch: Videos or images of an optimiser step, over all devices. Smaller batches are
            accumulated. Default: an eighth of the data, at least 8, at most that of the config.
        lr: Peak learning rate. Default: that of the config, scaled with the square root of the
            total batch, the rule for Adam (arXiv 2205.10287).
        frames: Frames of a clip. Default: the teacher's, or 16.
        size: Height and width in pixels. Default: the teacher's, or 224.
        stride: From one frame of a clip to the next. Default: the teacher's if its config is at
            hand, or 4.
        fps: Frames per second of a clip, whatever the video's rate is, instead of a stride.
        precision: bf16, fp32, or auto: bf16 where the device has units for it.
        devices: GPUs, or processes on a CPU. Default: all GPUs, or one process.
        workers: Data loader processes of each device. Default: its share of the CPU cores, at most
            the config's.
        dry_run: Only write the config and print the choices.
        resume: Continue the run in ``out`` with the config that it has; nothing else is used.
        options: Further entries of the config, as for ``--cfg-options``.

    Returns:
        ``out``.

    Raises:
        ConfigError: If arguments contradict each other, or training fails; it has printed why.
        CheckpointError: If the teacher cannot be fetched or read.
        VideoError: If a list file is wrong.
    """
    devices = devices or torch.cuda.device_count() or 1
    if resume:
        runs.resume(out, CONFIG, devices)
        return _finish(Path(out))
    runs.check_new(out)
    if stride and fps:
        raise ConfigError('give stride or fps, not both')
    if sum(one is not None for one in (epochs, steps, hours)) > 1:
        raise ConfigError('give one of epochs, steps and hours')
    if method is not None and method not in METHODS:
        raise ConfigError(f'method: there is no {method}, but {", ".join(METHODS)}')
    dataset, count, kind = runs.find_data(data, METHODS[method].kinds() if method else KINDS)
    method = method or ('amd' if teacher else 'videomae' if kind == 'video' else 'mae')
    cfg = _read_config(method, kind, bool(teacher), bool(image_teacher))
    cfg.work_dir = out
    loader = cfg.train_dataloader
    loader.dataset = dict(dataset, pipeline=loader.dataset.pipeline)
    name = getattr(METHODS[method], kind)
    choices = dict(data=f'{count} {kind}s in {data}', method=f'{method}, from {name}')

    given = dict(img_size=size) if kind == 'image' else dict(img_size=size, num_frames=frames)
    tokens = {key: value for key, value in given.items() if value}
    clips: Stride = stride
    if teacher:
        found = find_source(teacher)
        source = (read_config(teacher_config), found[1]) if teacher_config else found
        choices['teacher'] = f'{teacher}: {_use_teacher(cfg, source, kind, tokens)}'
        licence = runs.licence_of(teacher, source[0])
        cfg.lineage = dict(Method=method, Teacher=Path(teacher).name, licence=licence)
        clips = clips or (stride_of(source[0], None) if source[0] else None)
    choices['student'] = f'{student}: {_use_student(cfg, student, tokens)}'
    if image_teacher:
        found = find_source(image_teacher)
        choices['image teacher'] = f'{image_teacher}: {_use_image_teacher(cfg, found)}'
        cfg.lineage['Image teacher'] = Path(image_teacher).name
        cfg.lineage['licence'] = runs.joint_licence(
            cfg.lineage['licence'], runs.licence_of(image_teacher, found[0])
        )
    choices['input'] = runs.use_clips(cfg, clips, fps)
    runs.use_device(cfg, devices, precision, workers)
    choices['batch'] = runs.use_batch(cfg, kind, count, batch, total_batch, devices)
    choices['learning rate'] = runs.use_learning_rate(cfg, devices, lr)

    total = cfg.auto_scale_lr.base_batch_size
    if hours is not None:
        trial = copy.deepcopy(cfg)
        _use_steps(trial, 100)
        runs.use_options(trial, options)
        accumulated = cfg.optim_wrapper.accumulative_counts
        seconds = runs.time_of_iteration(trial, devices) * accumulated
        steps = max(1, int(hours * 3600 * _SHARE / seconds))
        choices['trial'] = f'{seconds:.3g} s a step, {steps} of which fill {hours:g} hours'
    elif steps is None:
        steps = max(1, round((epochs or cfg.train_cfg.max_epochs) * count / total))
    _use_steps(cfg, steps)
    runs.use_options(cfg, options)
    choices['length'] = f'{steps} steps, {steps * total / count:.4g} passes over the data'
    runs.start(cfg, CONFIG, choices, devices, dry_run)
    return Path(out) if dry_run else _finish(Path(out))


# -- data, teacher, student --------------------------------------------------------------------


def _read_config(name: str, kind: str, has_teacher: bool, has_image_teacher: bool) -> Config:
    method = METHODS[name]
    if method.teacher != has_teacher:
        others = [one for one, other in METHODS.items() if other.teacher == has_teacher]
        raise ConfigError(
            f'method {name} needs a teacher: give one, or use {" or ".join(others)}'
            if method.teacher
            else f'method {name} has no teacher: leave it out, or use {" or ".join(others)}'
        )
    if method.image_teacher != has_image_teacher:
        raise ConfigError(
            f'image_teacher: {name} needs one, such as mae-base'
            if method.image_teacher
            else f'image_teacher: mvd has one, {name} has none'
        )
    config = getattr(method, kind)
    if not config:
        others = [one for one, other in METHODS.items() if getattr(other, kind)]
        raise ConfigError(f'method {name} has no config for {kind}s: use {" or ".join(others)}')
    return Config.fromfile(shipped('configs') / config)


def _use_teacher(
    cfg: Config, source: tuple[Config | None, str | None], kind: str, tokens: dict[str, int]
) -> str:
    """Fill in the teacher, whose tokens the student takes."""
    model, backbone = cfg.model, backbone_of(source, kind)
    backbone.update(tokens)
    if kind == 'video':
        backbone['use_mean_pooling'] = False
    model.backbone.update({key: backbone[key] for key in TOKENS if key in backbone})
    width, depth, heads = sizes_of(backbone)
    teacher = model.teacher.get('video', model.teacher)
    scale = depth / sizes_of(teacher.backbone)[1]
    teacher.update(backbone=backbone, checkpoint=source[1])
    if 'layer_pairs' in model:
        model.layer_pairs = [
            (one, max(1, round(other * scale))) for one, other in model.layer_pairs
        ]
    else:
        teacher.update(block=round(teacher.block * scale), num_heads=heads)
        model.last_heads = heads
    return f'{width} wide, {depth} blocks, {heads} heads'


def _use_image_teacher(cfg: Config, source: tuple[Config | None, str | None]) -> str:
    """Fill in the teacher of single frames. The student's last block learns from its last one."""
    model, backbone = cfg.model, backbone_of(source, 'image')
    width, depth, heads = sizes_of(backbone)
    model.teacher.image.update(backbone=backbone, checkpoint=source[1])
    if source[0] is not None and source[0].model.get('data_preprocessor'):
        pixels = normalisation_of(source[0].model, images=True)
        model.teacher.image.update(mean=pixels['mean'], std=pixels['std'])
    ((last, _),) = model.layer_pairs
    model.layer_pairs = dict(image=[(last, depth)], video=model.layer_pairs)
    return f'{width} wide, {depth} blocks, {heads} heads'


def backbone_of(source: tuple[Config | None, str | None], kind: str) -> dict[str, Any]:
    """The backbone's config of a trained model, from its config or its weights.

    Raises:
        ConfigError: If it is a model of another kind of data.
    """
    cfg, checkpoint = source
    if cfg is not None:
        backbone = dict(inference_config(cfg)['backbone'])
        backbone['type'] = f'amd_mm.{backbone["type"].__name__}'
    else:
        state = to_amd_mm(read_checkpoint(checkpoint or '')).state
        backbone = _infer_image_backbone(state) or infer_backbone(state)
    found = 'image' if backbone['type'] == 'amd_mm.ImageVisionTransformer' else 'video'
    if found != kind:
        raise ConfigError(f'{checkpoint} is a model of {found}s, where one of {kind}s is needed')
    for key in ('out_type', 'use_mean_pooling', 'return_feat_map'):
        backbone.pop(key, None)
    return backbone


def _infer_image_backbone(state: Mapping[str, Tensor]) -> dict[str, Any] | None:
    """The config of an ``ImageVisionTransformer``, from its weights; None for a video ViT."""
    patch = state.get('backbone.patch_embed.projection.weight')
    if patch is None or patch.ndim != 4:
        return None
    width, channels, side, _ = patch.shape
    depth = len({name.split('.')[2] for name in state if name.startswith('backbone.layers.')})
    hidden = state['backbone.layers.0.ffn.layers.0.0.weight'].shape[0]
    with_cls_token = 'backbone.cls_token' in state
    table = state.get('backbone.pos_embed')
    tokens = 14**2 if table is None else table.shape[1] - with_cls_token
    return dict(
        type='amd_mm.ImageVisionTransformer',
        arch=dict(
            embed_dims=width,
            num_layers=depth,
            num_heads=16 if width == 1280 else width // 64,  # ViT-H has wider heads
            feedforward_channels=hidden,
        ),
        img_size=math.isqrt(tokens) * side,
        patch_size=side,
        in_channels=channels,
        with_cls_token=with_cls_token,
    )


def sizes_of(backbone: Mapping[str, Any]) -> tuple[int, int, int]:
    """Width, depth and heads of a backbone's config."""
    if 'arch' not in backbone:
        return backbone['embed_dims'], backbone['depth'], backbone['num_heads']
    arch = backbone['arch']
    if isinstance(arch, str):
        zoo = {zoo_name.removeprefix('vit-'): sizes for zoo_name, sizes in STUDENTS.items()}
        return zoo[arch.removeprefix('deit-')]
    return arch['embed_dims'], arch['num_layers'], arch['num_heads']


def _use_student(cfg: Config, student: str, tokens: dict[str, int]) -> str:
    """Fill in the student, and a decoder and blocks to align in proportion."""
    model = cfg.model
    try:
        width, depth, heads = STUDENTS.get(student) or map(int, student.split(','))
    except ValueError:
        raise ConfigError(
            f'student: there is no {student}, but {", ".join(STUDENTS)}; or give width,depth,heads'
        ) from None
    scale = depth / sizes_of(model.backbone)[1]
    model.backbone.update(tokens)
    if 'arch' in model.backbone:
        model.backbone.arch = dict(
            embed_dims=width, num_layers=depth, num_heads=heads, feedforward_channels=4 * width
        )
    else:
        model.backbone.update(embed_dims=width, depth=depth, num_heads=heads)
        if model.decoder:  # half the student, as in the published configs of videos
            model.decoder.update(embed_dims=width // 2, num_heads=max(1, heads // 2))
    if 'layer_cfgs' in model.backbone:
        first, *_, last = model.backbone.layer_cfgs
        model.backbone.layer_cfgs = [first] * (depth - 1) + [last]
    text = f'{width} wide, {depth} blocks, {heads} heads'
    if 'layer_pairs' in model:
        model.layer_pairs = [
            (max(1, round(one * scale)), other) for one, other in model.layer_pairs
        ]
        pairs = ', '.join(f'{one} from {other}' for one, other in model.layer_pairs)
        return f'{text}; blocks that learn from the teacher: {pairs}'
    if 'teacher' in model:
        return f'{text}; block {depth} learns from block {model.teacher.block} of the teacher'
    return text


def _use_steps(cfg: Config, steps: int) -> None:
    """Let a config count optimiser steps instead of epochs, with its schedule in proportion."""
    iterations = steps * cfg.optim_wrapper.accumulative_counts
    former = cfg.train_cfg.max_epochs
    schedule = []
    for one in cfg.param_scheduler:
        one = dict(one, by_epoch=False, begin=round(one.get('begin', 0) / former * iterations))
        one.pop('convert_to_iter_based', None)
        if 'end' in one:
            one['end'] = round(one['end'] / former * iterations)
        # A warm-up of one iteration would stay at its start.
        if one['begin'] < one.get('end', iterations) - ('start_factor' in one):
            schedule.append(one)
    cfg.param_scheduler = schedule
    cfg.train_cfg = dict(type='mmengine.IterBasedTrainLoop', max_iters=iterations)
    cfg.train_dataloader.sampler.infinite = True
    cfg.log_processor.by_epoch = False
    cfg.default_hooks.logger.interval = max(1, min(20, iterations // 20))
    cfg.default_hooks.checkpoint.update(
        by_epoch=False, interval=max(1, min(1000, iterations // 10)), max_keep_ckpts=1
    )


def _finish(folder: Path) -> Path:
    """Draw the curves and the reconstructions, and name the next commands."""
    from amd_mm.visualization.plots import draw_training_curves
    from amd_mm.visualization.reconstruction import borrowed_note, draw_reconstruction, reconstruct

    draw_training_curves({folder.name: str(folder)}, folder / 'curves.png')
    written = [str(folder / 'curves.png')]
    cfg, checkpoint = find_source(folder)
    assert cfg is not None
    if cfg.model.get('decoder'):
        model: Any = load_model(folder)
        dataset = Runner.build_dataloader(
            dict(cfg.train_dataloader, batch_size=1, num_workers=0, persistent_workers=False)
        ).dataset
        infos = [dataset.get_data_info(index) for index in range(min(4, len(dataset)))]
        files = [info.get('filename') or info['img_path'] for info in infos]
        clips = read_clips(model.backbone, files, stride_of(cfg), 'pyav')
        result = reconstruct(model, encoder_of(model).normalise(clips))
        names = [Path(file).name for file in files]
        note, patch = borrowed_note(model), model.backbone.patch_shape
        draw_reconstruction(result, patch, folder / 'reconstruction.png', names, note)
        written.append(str(folder / 'reconstruction.png'))
    print('\n  '.join(['Wrote', str(checkpoint), runs.save_model(folder), *written]))
    print(
        'Next:\n'
        f"  python -c \"import amd_mm; print(amd_mm.load('{folder}').features('VIDEO').shape)\"\n"
        f'  amd-mm finetune --data FOLDER_OF_CLASS_FOLDERS --model {folder} --out RUN'
    )
    return folder
