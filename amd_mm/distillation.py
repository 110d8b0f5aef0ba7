"""From a folder of videos or images to a small model in one call.

    distill('/my/videos', 'runs/mine', teacher='videomae-base', student='vit-small')

The call chooses a shipped config, fills it in, writes it to ``out/distill.py`` and starts
``tools/train.py`` with it: the same file trains the same model without this module.
"""

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from amd_mm.apis import encoder_of, find_source, inference_config, load_model, read_config
from amd_mm.checkpoints import infer_backbone, read_checkpoint, to_amd_mm
from amd_mm.datasets import IMAGE_EXTENSIONS, VIDEO_EXTENSIONS
from amd_mm.datasets.files import find_files
from amd_mm.datasets.inference import read_clips, stride_of
from amd_mm.datasets.list_files import read_list_file
from amd_mm.engine.cfg_options import check_options
from amd_mm.errors import ConfigError
from amd_mm.registry import MODELS
from amd_mm.zoo import shipped
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from torch import Tensor

CONFIG = 'distill.py'
_CPU_BATCH = 8
_TRIAL = 12  # iterations
_SHARE = 0.95  # of the hours; the rest is for start and end


@dataclass(frozen=True)
class Method:
    """The configs of a method: for videos and for images, '' if it has none."""

    video: str = ''
    image: str = ''
    teacher: bool = True


METHODS = dict(
    amd=Method(
        'amd/pretrain/amd_vit-small-p16_vit-large_32xb16v4-16x4x1-200e_k400.py',
        'amd/image/amd_image_vit-base-p16_vit-large_16xb256-800e_in1k.py',
    ),
    dmae=Method(
        'dmae/pretrain/dmae_vit-base-p16_vit-large_32xb16v4-16x4x1-200e_k400.py',
        'dmae/pretrain/dmae_vit-base-p16_vit-large_released_16xb256-100e_in1k.py',
    ),
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
        student: vit-tiny, vit-small, vit-base or vit-large; or width,depth,heads, as in 96,4,3.
        method: amd, dmae or tinymim; without a teacher videomae (videos) or mae (images). Default:
            amd if there is a teacher.
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
    folder = Path(out)
    config = folder / CONFIG
    devices = devices or torch.cuda.device_count() or 1
    if resume:
        if not config.is_file():
            raise ConfigError(f'resume: there is no run in {out} (no file {config})')
        print(f'Continues {out} with {config} as it is')
        _train(config, folder, devices, '--resume')
        return _finish(folder)
    if (folder / 'last_checkpoint').exists():
        raise ConfigError(f'{out} has a run: continue it with resume, or give another folder (out)')
    if sum(one is not None for one in (epochs, steps, hours)) > 1:
        raise ConfigError('give one of epochs, steps and hours')
    dataset, count, kind = _find_data(data, method)
    name = method or ('amd' if teacher else dict(video='videomae', image='mae')[kind])
    cfg = _read_config(name, kind, bool(teacher))
    loader = cfg.train_dataloader
    loader.dataset = dict(dataset, pipeline=loader.dataset.pipeline)
    choices = dict(
        data=f'{count} {kind}s in {data}', method=f'{name}, from {getattr(METHODS[name], kind)}'
    )

    given = dict(img_size=size) if kind == 'image' else dict(img_size=size, num_frames=frames)
    tokens = {key: value for key, value in given.items() if value}
    if teacher:
        found = find_source(teacher)
        source = (read_config(teacher_config), found[1]) if teacher_config else found
        choices['teacher'] = f'{teacher}: {_use_teacher(cfg, source, kind, tokens)}'
        stride = stride or (stride_of(source[0], None) if source[0] else None)
    choices['student'] = f'{student}: {_use_student(cfg, student, tokens)}'
    choices['input'] = _use_clips(cfg, stride)

    cfg.optim_wrapper.precision = precision
    if precision == 'fp32' and teacher:
        cfg.model.teacher.dtype = 'float32'
    cores = (os.cpu_count() or 1) // devices
    loader.num_workers = max(1, min(loader.num_workers, cores)) if workers is None else workers
    loader.persistent_workers = loader.num_workers > 0
    loader.pin_memory = torch.cuda.is_available()
    choices['batch'] = _use_batch(cfg, kind, count, batch, total_batch, devices)
    total = loader.batch_size * devices * cfg.optim_wrapper.accumulative_counts
    choices['learning rate'] = _use_learning_rate(cfg, total, lr)

    cfg.work_dir = out
    if hours is not None:
        seconds = time_of_step(cfg, devices, options or {})
        steps = max(1, int(hours * 3600 * _SHARE / seconds))
        choices['trial'] = f'{seconds:.3g} s a step, {steps} of which fill {hours:g} hours'
    elif steps is None:
        steps = max(1, round((epochs or cfg.train_cfg.max_epochs) * count / total))
    _use_steps(cfg, steps)
    choices['length'] = f'{steps} steps, {steps * total / count:.4g} passes over the data'
    _use_options(cfg, options or {})
    folder.mkdir(parents=True, exist_ok=True)
    cfg.dump(config)
    choices['config'] = str(config)
    width = max(map(len, choices))
    print('\n'.join(f'{key:<{width}}  {text}' for key, text in choices.items()), flush=True)
    if dry_run:
        return folder
    _train(config, folder, devices)
    return _finish(folder)


def _use_options(cfg: Config, options: Mapping[str, Any]) -> None:
    check_options(cfg, dict(options))
    cfg.merge_from_dict(dict(options))


# -- data, teacher, student --------------------------------------------------------------------


def _find_data(data: str, method: str | None) -> tuple[dict, int, str]:
    """The dataset's config without pipeline, the number of samples, and ``video`` or ``image``."""
    path = Path(data).expanduser().absolute()
    if path.is_dir():
        found = dict(
            video=len(find_files(str(path), VIDEO_EXTENSIONS)),
            image=len(find_files(str(path), IMAGE_EXTENSIONS)),
        )
    elif path.is_file():
        names = [entry.name.lower() for entry in read_list_file(str(path))]
        found = dict(
            video=sum(name.endswith(VIDEO_EXTENSIONS) for name in names),
            image=sum(name.endswith(IMAGE_EXTENSIONS) for name in names),
        )
    else:
        raise ConfigError(f'data: there is no folder or list file {data}')
    if method in METHODS:  # which may take only one kind
        found = {kind: count for kind, count in found.items() if getattr(METHODS[method], kind)}
    kind = max(found, key=lambda one: found[one])
    if not found[kind]:
        raise ConfigError(f'data: {data} has no {" and no ".join(f"{one}s" for one in found)}')
    dataset = dict(data_root=str(path))
    if not path.is_dir():
        dataset = dict(ann_file=str(path), data_root=str(path.parent))
    if kind == 'image':
        return dict(dataset, type='amd_mm.ImageDataset', with_label=False), found[kind], kind
    name = 'VideoFolderDataset' if path.is_dir() else 'VideoListDataset'
    return dict(dataset, type=f'amd_mm.{name}'), found[kind], kind


def _read_config(name: str, kind: str, has_teacher: bool) -> Config:
    if name not in METHODS:
        raise ConfigError(f'method: there is no {name}, but {", ".join(METHODS)}')
    method = METHODS[name]
    if method.teacher != has_teacher:
        others = [one for one, other in METHODS.items() if other.teacher == has_teacher]
        raise ConfigError(
            f'method {name} needs a teacher: give one, or use {" or ".join(others)}'
            if method.teacher
            else f'method {name} has no teacher: leave it out, or use {" or ".join(others)}'
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
    model, (own, checkpoint) = cfg.model, source
    if own is not None:
        backbone = dict(inference_config(own)['backbone'])
        backbone['type'] = f'amd_mm.{backbone["type"].__name__}'
    else:
        state = to_amd_mm(read_checkpoint(checkpoint or '')).state
        backbone = _infer_image_backbone(state) or infer_backbone(state)
    image = backbone['type'] == 'amd_mm.ImageVisionTransformer'
    if image != (kind == 'image'):
        raise ConfigError(f'the teacher is a model of {"images" if image else "videos"}')
    for key in ('out_type', 'use_mean_pooling', 'return_feat_map'):
        backbone.pop(key, None)
    backbone.update(tokens)
    if not image:
        backbone['use_mean_pooling'] = False
    for key in (
        'img_size',
        'patch_size',
        'in_channels',
        'num_frames',
        'tubelet_size',
        'pos_embed_type',
        'with_cls_token',
    ):
        if key in backbone:
            model.backbone[key] = backbone[key]
    width, depth, heads = sizes_of(backbone)
    scale = depth / sizes_of(model.teacher.backbone)[1]
    model.teacher.update(backbone=backbone, checkpoint=checkpoint)
    if 'layer_pairs' in model:
        model.layer_pairs = [
            (one, max(1, round(other * scale))) for one, other in model.layer_pairs
        ]
    else:
        model.teacher.update(block=round(model.teacher.block * scale), num_heads=heads)
        model.last_heads = heads
    return f'{width} wide, {depth} blocks, {heads} heads'


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
        # Half the student, as in the published configs of videos.
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


def _use_clips(cfg: Config, stride: int | None) -> str:
    """Let the pipeline make clips, or images, of the backbone's size."""
    backbone = cfg.model.backbone
    size, frames = backbone.img_size, backbone.get('num_frames')
    height, width = (size, size) if isinstance(size, int) else size
    values = dict(clip_len=frames, min_frames=frames, frame_interval=stride, input_size=size)
    for transform in _transforms(cfg.train_dataloader.dataset.pipeline):
        for key, value in values.items():
            if value and key in transform:
                transform[key] = value
        if 'scale' in transform:
            transform.scale = (width, height) if frames else size
    pixels = f'{height} x {width} pixels'
    return f'{frames} frames of {pixels}, stride {stride_of(cfg)}' if frames else pixels


def _transforms(pipeline: list) -> Iterator[Any]:
    for transform in pipeline:
        if isinstance(transform, list):
            yield from _transforms(transform)
        else:
            yield transform
            yield from _transforms(transform.get('transforms', []))


def _use_batch(
    cfg: Config, kind: str, count: int, batch: int | None, total: int | None, devices: int
) -> str:
    """Set the batch of a device and the accumulation that makes a step of it."""
    gpu = torch.cuda.is_available()
    wanted = total or min(cfg.auto_scale_lr.base_batch_size, max(8, _power_of_two(count / 8)))
    limit = max(1, min(wanted, count) // devices)
    reason = 'as given'
    if batch and batch * devices > count:
        raise ConfigError(
            f'batch: {batch} on each of {devices} devices is more than the {count} {kind}s'
        )
    if batch is None:
        batch = largest_batch(cfg, limit) if gpu else min(limit, _CPU_BATCH)
        reason = 'all of a step' if batch == limit else 'as many as fit' if gpu else 'for a CPU'
    accumulated = max(1, round(wanted / (batch * devices)))
    cfg.train_dataloader.batch_size = batch
    cfg.optim_wrapper.accumulative_counts = accumulated
    total = batch * devices * accumulated
    return (
        f'{total} {kind}s a step: {batch} at a time ({reason}) x {devices} processes x '
        f'{accumulated} accumulated'
    )


def _use_learning_rate(cfg: Config, total: int, lr: float | None) -> str:
    base, published = cfg.optim_wrapper.optimizer.lr, cfg.auto_scale_lr.base_batch_size
    cfg.auto_scale_lr.base_batch_size = total
    cfg.optim_wrapper.optimizer.lr = lr or base * math.sqrt(total / published)
    if lr:
        return f'{lr:.3g}, as given'
    scaled = f'{cfg.optim_wrapper.optimizer.lr:.3g}'
    return f'{scaled}: {base:.3g} for {published} a step, scaled with the square root'


def _power_of_two(value: float) -> int:
    return 2 ** int(math.log2(max(value, 1)))


def _use_steps(cfg: Config, steps: int) -> None:
    """Let a config train for some optimiser steps, with its schedule in proportion."""
    iterations = steps * cfg.optim_wrapper.accumulative_counts
    former = cfg.train_cfg.get('max_epochs') or cfg.train_cfg.max_iters
    schedule = []
    for one in cfg.param_scheduler:
        one = dict(one, by_epoch=False, begin=round(one.get('begin', 0) / former * iterations))
        one.pop('convert_to_iter_based', None)
        if 'end' in one:
            one['end'] = round(one['end'] / former * iterations)
        if one['begin'] < one.get('end', iterations):
            schedule.append(one)
    cfg.param_scheduler = schedule
    cfg.train_cfg = dict(type='mmengine.IterBasedTrainLoop', max_iters=iterations)
    cfg.train_dataloader.sampler.infinite = True
    cfg.log_processor.by_epoch = False
    cfg.default_hooks.logger.interval = max(1, min(20, iterations // 20))
    cfg.default_hooks.checkpoint.update(
        by_epoch=False, interval=max(1, min(1000, iterations // 10)), max_keep_ckpts=1
    )


# -- trials ------------------------------------------------------------------------------------


def largest_batch(cfg: Config, limit: int, fits: Callable[[int], bool] | None = None) -> int:
    """The largest power of two of samples that a GPU trains on, found by training steps.

    Args:
        cfg: A training config.
        limit: At most so many.
        fits: Whether a batch fits; for tests.

    Raises:
        ConfigError: If one sample does not fit.
    """
    fits = fits or _gpu_trial(cfg)
    batch = 1
    if not fits(batch):
        raise ConfigError('not even one sample fits on the GPU: use a smaller student or size')
    while batch * 2 <= limit and fits(batch * 2):
        batch *= 2
    return batch


def _gpu_trial(cfg: Config) -> Callable[[int], bool]:
    loader = Runner.build_dataloader(
        dict(cfg.train_dataloader, batch_size=1, num_workers=0, persistent_workers=False)
    )
    sample = loader.dataset[0]
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(cfg.model).cuda().train()
        wrapper = build_optim_wrapper(model, cfg.optim_wrapper)

    def fits(batch: int) -> bool:
        torch.cuda.reset_peak_memory_stats()
        try:
            model.train_step(loader.collate_fn([sample] * batch), wrapper)
        except torch.cuda.OutOfMemoryError:
            return False
        finally:
            torch.cuda.empty_cache()
        whole = torch.cuda.get_device_properties(0).total_memory
        return torch.cuda.max_memory_allocated() < 0.85 * whole

    return fits


def time_of_step(cfg: Config, devices: int, options: Mapping[str, Any]) -> float:
    """Seconds of an optimiser step, of a short run of ``tools/train.py`` with the real data."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, CONFIG)
        trial = cfg.copy()
        _use_steps(trial, math.ceil(_TRIAL / cfg.optim_wrapper.accumulative_counts))
        _use_options(trial, options)
        trial.default_hooks.logger.interval = 1
        trial.default_hooks.checkpoint.update(interval=10**9, save_last=False)
        trial.dump(config)
        _train(config, Path(folder), devices, quiet=True)
        (log,) = Path(folder).rglob('scalars.json')
        entries = map(json.loads, log.read_text().splitlines())
        times = [entry['time'] for entry in entries if 'time' in entry]
    # MMEngine logs means over the last iterations; the first ones wait for the workers.
    return statistics.median(times[len(times) // 2 :]) * cfg.optim_wrapper.accumulative_counts


# -- training ----------------------------------------------------------------------------------


def _train(config: Path, folder: Path, devices: int, *more: str, quiet: bool = False) -> None:
    """Run ``tools/train.py`` in processes of its own, and pass on what it prints."""
    command = [str(shipped('tools') / 'train.py'), str(config), '--work-dir', str(folder), *more]
    if devices > 1:
        launcher = ['-m', 'torch.distributed.run', '--standalone', f'--nproc_per_node={devices}']
        command = [*launcher, *command, '--launcher', 'pytorch']
    environment = dict(os.environ, PYTHONUNBUFFERED='1')
    environment['PYTHONPATH'] = os.pathsep.join(
        [str(Path(__file__).parents[1]), *filter(None, [os.environ.get('PYTHONPATH')])]
    )
    last, shown = '', False
    with subprocess.Popen(
        [sys.executable, '-W', 'ignore', *command],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout
        try:
            for line in process.stdout:
                last = line.strip() or last
                shown = shown or 'This run:' in line  # MMEngine's list of hooks comes before
                if shown and not quiet:
                    print(line, end='', flush=True)
        except KeyboardInterrupt:  # which the run gets too: it saves a checkpoint
            process.wait()
            raise
    if process.returncode:
        raise ConfigError(f'training ended with exit status {process.returncode}: {last}')


def _finish(folder: Path) -> Path:
    """Draw the curves and the reconstructions, and name the next commands."""
    from amd_mm.visualization.plots import draw_training_curves
    from amd_mm.visualization.reconstruction import borrowed_note, draw_reconstruction, reconstruct

    draw_training_curves({folder.name: str(folder)}, folder / 'curves.png')
    written = ['curves.png']
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
        written.append('reconstruction.png')
    print(f'Wrote {checkpoint}, {", ".join(str(folder / name) for name in written)}')
    print(
        'Next:\n'
        f"  python -c \"import amd_mm; print(amd_mm.load('{folder}').features('VIDEO').shape)\"\n"
        f'  amd-mm finetune --data FOLDER_OF_CLASS_FOLDERS --model {folder} --out RUN'
    )
    return folder
