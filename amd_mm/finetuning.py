"""From class folders, or a csv of files and classes, to a classifier in one call.

    finetune('/my/classes', 'runs/mine', 'runs/classifier')

As :func:`amd_mm.distill`, the call fills in a shipped config, writes it to ``out/finetune.py`` and
starts ``tools/train.py`` with it.
"""

import random
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from amd_mm import runs
from amd_mm.apis import find_source
from amd_mm.datasets import IMAGE_EXTENSIONS, VIDEO_EXTENSIONS
from amd_mm.datasets.class_csv import read_class_csv
from amd_mm.datasets.files import class_folders, find_files
from amd_mm.datasets.inference import stride_of
from amd_mm.distillation import TOKENS, backbone_of, sizes_of
from amd_mm.engine.launch import scale_schedule
from amd_mm.errors import ConfigError
from amd_mm.zoo import shipped
from mmengine.config import Config

CONFIG = 'finetune.py'
CONFIGS = dict(
    video='amd/recognition/amd_vit-base-p16_8xb16v2-16x4x1-100e_ucf101.py',
    image='amd/image/amd_image_vit-base-p16_vit-large_finetune_8xb128-100e_in1k.py',
)
_DIRECTIONS = re.compile(r'(?<![a-z])(left|right)(?![a-z])', re.IGNORECASE)

Samples = dict[str, list[str]]  # class -> names relative to the folder of classes or csv


def finetune(
    data: str,
    model: str,
    out: str,
    *,
    epochs: int | None = None,
    validation: float = 0.2,
    no_flip: bool = False,
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
    """Fine-tune a pre-trained model on your own classes of videos or images.

    Prints its choices and their reasons, trains, and keeps the checkpoint with the best
    validation.

    Args:
        data: Folder with a folder for each class, or with such folders below train and val. Or a
            csv with the columns path, class and, if you like, split (train or val); paths start
            from its folder.
        model: A training folder, a checkpoint, or the name of public weights (amd-mm models).
        out: Folder of the run: config, lists of both parts, labels.txt, log, checkpoints.
        epochs: Passes over the training part. Default: those of the config.
        validation: Share of each class that validates instead of training, unless the folder or
            the csv has train and val. The same files in every run.
        no_flip: Never mirror, for classes that differ in left and right. Default: if the name of a
            class has one of these words.
        batch: Videos or images on a device at a time; see amd-mm distill, as for what follows.
        total_batch: Videos or images of an optimiser step, over all devices.
        lr: Peak learning rate.
        frames: Frames of a clip. Default: the model's.
        size: Height and width in pixels. Default: the model's.
        stride: From one frame of a clip to the next.
        fps: Frames per second of a clip, whatever the video's rate is, instead of a stride.
        precision: bf16, fp32, or auto.
        devices: GPUs, or processes on a CPU.
        workers: Data loader processes of each device.
        dry_run: Only write the config and print the choices.
        resume: Continue the run in ``out`` with the config that it has; nothing else is used.
        options: Further entries of the config.

    Returns:
        ``out``.

    Raises:
        ConfigError: If arguments contradict each other, or training fails; it has printed why.
        CheckpointError: If the model cannot be fetched or read.
        VideoError: If a line of the csv is wrong; the message has the file and the line.
    """
    devices = devices or torch.cuda.device_count() or 1
    if resume:
        runs.resume(out, CONFIG, devices)
        return _finish(Path(out))
    runs.check_new(out)
    if stride and fps:
        raise ConfigError('give stride or fps, not both')
    kind, parts = find_classes(data, validation)
    labels = list(parts['train'])
    counts = {part: sum(map(len, samples.values())) for part, samples in parts.items()}
    cfg = Config.fromfile(shipped('configs') / CONFIGS[kind])
    cfg.work_dir = out
    split = f'{counts["train"]} {kind}s to train, {counts["val"]} to validate'
    choices = dict(data=f'{len(labels)} classes in {data}: {split}', recipe=CONFIGS[kind])
    given = dict(img_size=size) if kind == 'image' else dict(img_size=size, num_frames=frames)
    source = find_source(model)
    tokens = {key: value for key, value in given.items() if value}
    choices['model'] = f'{model}: {_use_model(cfg, source, kind, tokens)}'
    cfg.lineage = dict(licence=runs.licence_of(model, source[0]))
    choices['input'] = runs.use_clips(
        cfg, stride or (source[0] and stride_of(source[0], None)), fps
    )
    root = Path(data).absolute()
    _use_classes(cfg, kind, root if root.is_dir() else root.parent, labels)
    directions = [name for name in labels if _DIRECTIONS.search(name)]
    if no_flip or directions:
        _remove_flips(cfg)
        choices['mirroring'] = f'off, {"as given" if no_flip else f"for {directions[0]}"}'
    runs.use_device(cfg, devices, precision, workers)
    choices['batch'] = runs.use_batch(cfg, kind, counts['train'], batch, total_batch, devices)
    choices['learning rate'] = runs.use_learning_rate(cfg, devices, lr)
    epochs = epochs or cfg.train_cfg.max_epochs
    scale_schedule(cfg, epochs / cfg.train_cfg.max_epochs, by_epoch=True)
    cfg.train_cfg.max_epochs = epochs
    choices['length'] = f'{epochs} epochs'
    runs.use_options(cfg, options)
    _write_lists(Path(out), parts)
    runs.start(cfg, CONFIG, choices, devices, dry_run)
    return Path(out) if dry_run else _finish(Path(out))


def find_classes(data: str, validation: float = 0.2) -> tuple[str, dict[str, Samples]]:
    """The files of each class, split into ``train`` and ``val``.

    Args:
        data: See :func:`finetune`.
        validation: Share of each class for ``val``, if the data have no such parts: at least one
            file of a class that has two.

    Returns:
        ``video`` or ``image``, whichever there are more of; and part -> class -> names relative to
        ``data``, or to the folder of the csv.

    Raises:
        ConfigError: If there are fewer than two classes, or a class of ``val`` is not in ``train``.
    """
    kind, parts = (_listed if data.lower().endswith('.csv') else _in_folders)(data)
    if 'val' in parts:
        if unknown := parts['val'].keys() - parts['train'].keys():
            raise ConfigError(f'{data}: val has classes that train has not: {sorted(unknown)}')
    else:
        parts = _divide(parts['train'], validation)
    if len(parts['train']) < 2:
        raise ConfigError(
            f'{data} must have a folder for each class, or be a csv with the columns path and '
            f'class, of at least two; found {list(parts["train"]) or "none"}'
        )
    return kind, parts


def _listed(data: str) -> tuple[str, dict[str, Samples]]:
    """Kind and parts of a csv: all files in ``train`` if it has no split."""
    if not Path(data).is_file():
        raise ConfigError(f'data: there is no file {data}')
    rows = read_class_csv(data)
    parts: dict[str, Samples] = {}
    for row in sorted(rows, key=lambda one: (one.label, one.name)):
        parts.setdefault(row.split or 'train', {}).setdefault(row.label, []).append(row.name)
    if rows[0].split and len(parts) < 2:
        raise ConfigError(f'{data}: the column split needs both train and val')
    return rows[0].kind, parts


def _in_folders(data: str) -> tuple[str, dict[str, Samples]]:
    """Kind and parts of a folder: all files in ``train`` if it has no such parts."""
    _, _, kind = runs.find_data(data)
    root = Path(data)
    if (root / 'train').is_dir() and (root / 'val').is_dir():
        return kind, {part: _classes_below(root, part, kind) for part in ('train', 'val')}
    return kind, dict(train=_classes_below(root, '', kind))


def _divide(classes: Samples, validation: float) -> dict[str, Samples]:
    """Take a share of each class for ``val``, the same one in every run."""
    if not 0 < validation < 1:
        raise ConfigError(f'validation={validation} must be a share between 0 and 1')
    parts: dict[str, Samples] = dict(train={}, val={})
    for name, files in classes.items():
        shuffled = random.Random(0).sample(files, len(files))
        cut = min(len(files) - 1, max(1, round(validation * len(files))))
        parts['train'][name], parts['val'][name] = sorted(shuffled[cut:]), shuffled[:cut]
    return parts


def _classes_below(root: Path, part: str, kind: str) -> Samples:
    endings = VIDEO_EXTENSIONS if kind == 'video' else IMAGE_EXTENSIONS
    folder = root / part
    found = {name: find_files(str(folder / name), endings) for name in class_folders(folder)}
    return {
        name: [Path(part, name, file).as_posix() for file in files]
        for name, files in found.items()
        if files
    }


def _use_model(
    cfg: Config, source: tuple[Config | None, str | None], kind: str, tokens: dict[str, int]
) -> str:
    """Fill in the backbone of a pre-trained model and its weights."""
    model, found = cfg.model, backbone_of(source, kind)
    width, depth, heads = sizes_of(found)
    shape = ('arch', 'embed_dims', 'depth', 'num_heads', 'mlp_ratio', 'qkv_bias', 'init_values')
    model.backbone.update({key: found[key] for key in (*shape, *TOKENS) if key in found})
    model.backbone.update(tokens, pretrained=source[1])
    if width < 768:
        model.backbone.drop_path_rate = 0.1  # as the configs of ViT-S
    model['cls_head' if kind == 'video' else 'head'].in_channels = width
    if kind == 'video':
        cfg.optim_wrapper.paramwise_cfg.num_layers = depth
    return f'{width} wide, {depth} blocks, {heads} heads'


def _use_classes(cfg: Config, kind: str, root: Path, labels: list[str]) -> None:
    """Set the data, and every number of classes."""
    for part in ('train', 'val', 'test'):
        dataset = cfg[f'{part}_dataloader'].dataset
        listed = Path(cfg.work_dir).absolute() / f'{"train" if part == "train" else "val"}.txt'
        dataset.update(
            data_root=str(root), ann_file=str(listed), metainfo=dict(classes=tuple(labels))
        )
        if kind == 'video':
            dataset.data_prefix = dict(video='')
    _set_everywhere(cfg._cfg_dict, 'num_classes', len(labels))
    if kind == 'image':
        cfg.val_evaluator.topk = (1, 5) if len(labels) > 5 else (1,)
        cfg.test_evaluator = cfg.val_evaluator


def _set_everywhere(part: Any, key: str, value: object) -> None:
    if isinstance(part, dict):
        if key in part:
            part[key] = value
        part = list(part.values())
    if isinstance(part, list | tuple):
        for one in part:
            _set_everywhere(one, key, value)


def _remove_flips(cfg: Config) -> None:
    pipeline = cfg.train_dataloader.dataset.pipeline
    for one in pipeline:
        if 'transforms' in one:
            one.transforms = [each for each in one.transforms if 'Flip' not in each['type']]
    cfg.train_dataloader.dataset.pipeline = [one for one in pipeline if 'Flip' not in one['type']]


def _write_lists(out: Path, parts: dict[str, Samples]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    labels = list(parts['train'])
    (out / 'labels.txt').write_text('\n'.join(labels) + '\n', encoding='utf-8')
    for part, samples in parts.items():
        lines = [f'{file} {labels.index(name)}\n' for name in samples for file in samples[name]]
        (out / f'{part}.txt').write_text(''.join(lines), encoding='utf-8')


def _finish(folder: Path) -> Path:
    """Draw the curves and name the next commands."""
    from amd_mm.visualization.plots import draw_training_curves

    draw_training_curves({folder.name: str(folder)}, folder / 'curves.png')
    written = [str(find_source(folder)[1]), runs.save_model(folder), str(folder / 'curves.png')]
    print('\n  '.join(['Wrote', *written]))
    print(f"Next:\n  python -c \"import amd_mm; print(amd_mm.load('{folder}').predict('FILE'))\"")
    return folder
