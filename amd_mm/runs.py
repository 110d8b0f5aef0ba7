"""What the calls :func:`amd_mm.distill` and :func:`amd_mm.finetune` share.

They fill in a shipped config, try it on the device if they have to, write it, and start
``tools/train.py`` with it.
"""

import contextlib
import copy
import json
import logging
import math
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from amd_mm.datasets import IMAGE_EXTENSIONS, VIDEO_EXTENSIONS
from amd_mm.datasets.files import find_files
from amd_mm.datasets.inference import stride_of
from amd_mm.datasets.list_files import read_list_file
from amd_mm.datasets.transforms import PerSecond, Stride
from amd_mm.engine.cfg_options import check_options
from amd_mm.errors import ConfigError
from amd_mm.models.teachers import teacher_configs
from amd_mm.registry import MODELS
from amd_mm.zoo import find, shipped
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

_CPU_BATCH = 8
_TRIAL = 12  # iterations
_PUBLISHED_SIZE = 224  # of the inputs in the configs


def find_data(data: str, kinds: Sequence[str] = ('video', 'image')) -> tuple[dict, int, str]:
    """The videos or images of a folder or a list file, whichever there are more of.

    Args:
        data: The folder or the file.
        kinds: ``video``, ``image`` or both.

    Returns:
        The dataset's config without pipeline, the number of samples, and the kind.

    Raises:
        ConfigError: If there is no such folder or file, or nothing of these kinds in it.
    """
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
    kind = max(kinds, key=lambda one: found[one])
    if not found[kind]:
        raise ConfigError(f'data: {data} has no {" and no ".join(f"{one}s" for one in kinds)}')
    dataset = dict(data_root=str(path))
    if not path.is_dir():
        dataset = dict(ann_file=str(path), data_root=str(path.parent))
    if kind == 'image':
        return dict(dataset, type='amd_mm.ImageDataset', with_label=False), found[kind], kind
    name = 'VideoFolderDataset' if path.is_dir() else 'VideoListDataset'
    return dict(dataset, type=f'amd_mm.{name}'), found[kind], kind


def use_clips(cfg: Config, stride: Stride, fps: float | None = None) -> str:
    """Let all pipelines make clips, or images, of the backbone's size.

    Args:
        cfg: With the backbone.
        stride: From one frame to the next; None leaves the config's.
        fps: Frames per second, instead of a stride.

    Raises:
        ConfigError: If the size is not square.
    """
    size, frames = cfg.model.backbone.img_size, cfg.model.backbone.get('num_frames')
    if not isinstance(size, int):
        raise ConfigError(f'img_size={size}: only square inputs are supported here')
    if isinstance(stride, PerSecond):
        fps = fps or stride.fps
        stride = None
    values = dict(clip_len=frames, min_frames=frames, frame_interval=stride)
    for part in ('train', 'val', 'test'):
        loader = cfg.get(f'{part}_dataloader') or {}
        pipeline = loader.get('dataset', {}).get('pipeline', [])
        for index, transform in enumerate(pipeline):
            if fps and 'frame_interval' in transform:
                kept = {
                    key: transform[key] for key in ('num_clips', 'test_mode') if key in transform
                }
                pipeline[index] = dict(
                    type='amd_mm.SampleFramesAtRate', fps=fps, clip_len=frames, **kept
                )
        for transform in _transforms(pipeline):
            transform.update({key: values[key] for key in values.keys() & transform if values[key]})
            for key in transform.keys() & {'scale', 'input_size', 'crop_size'}:
                transform[key] = _scaled(transform[key], size / _PUBLISHED_SIZE)
    pixels = f'{size} x {size} pixels'
    rate = f'{fps:g} a second' if fps else f'stride {stride_of(cfg)}'
    return f'{frames} frames of {pixels}, {rate}' if frames else pixels


def _scaled(value: Any, ratio: float) -> Any:
    """A size, or several; -1 stands for the other side in proportion."""
    if isinstance(value, int):
        return round(value * ratio) if value > 0 else value
    return tuple(_scaled(one, ratio) for one in value)


def _transforms(pipeline: list) -> Iterator[Any]:
    for transform in pipeline:
        if isinstance(transform, list):
            yield from _transforms(transform)
        else:
            yield transform
            yield from _transforms(transform.get('transforms', []))


def use_batch(
    cfg: Config, kind: str, count: int, batch: int | None, total: int | None, devices: int
) -> str:
    """Set the batch of a device and the accumulation that makes a step of it.

    Args:
        cfg: For the published batch, ``auto_scale_lr.base_batch_size``.
        kind: ``video`` or ``image``.
        count: Of the data.
        batch: Of a device; by default what fits.
        total: Of a step; by default an eighth of the data, at least 8, at most the published one.
        devices: Processes.

    Raises:
        ConfigError: If the batches do not fit into the data.
    """
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


def use_learning_rate(cfg: Config, devices: int, lr: float | None) -> str:
    """Set the learning rate, by default the config's for the batch that was set."""
    total = cfg.train_dataloader.batch_size * devices * cfg.optim_wrapper.accumulative_counts
    base, published = cfg.optim_wrapper.optimizer.lr, cfg.auto_scale_lr.base_batch_size
    cfg.auto_scale_lr.base_batch_size = total
    cfg.optim_wrapper.optimizer.lr = lr or base * math.sqrt(total / published)
    if lr:
        return f'{lr:.3g}, as given'
    scaled = f'{cfg.optim_wrapper.optimizer.lr:.3g}'
    return f'{scaled}: {base:.3g} for {published} a step, scaled with the square root'


def _power_of_two(value: float) -> int:
    return 2 ** int(math.log2(max(value, 1)))


def use_device(cfg: Config, devices: int, precision: str, workers: int | None) -> None:
    """Set precision and the processes that load data."""
    cfg.optim_wrapper.precision = precision
    for teacher in teacher_configs(cfg.model) if precision == 'fp32' else ():
        teacher['dtype'] = 'float32'
    cores = (os.cpu_count() or 1) // devices
    for part in ('train', 'val', 'test'):
        if loader := cfg.get(f'{part}_dataloader'):
            most = loader.num_workers if workers is None else workers
            loader.num_workers = max(1, min(most, cores)) if workers is None else workers
            loader.persistent_workers = loader.num_workers > 0
            loader.pin_memory = torch.cuda.is_available()


def use_options(cfg: Config, options: Mapping[str, Any] | None) -> None:
    """Apply overrides, if they have an effect."""
    check_options(cfg, dict(options or {}))
    cfg.merge_from_dict(dict(options or {}))


# -- trials ------------------------------------------------------------------------------------


def largest_batch(cfg: Config, limit: int, device: str = 'cuda') -> int:
    """The largest power of two of samples that a GPU trains on, found by training steps.

    Args:
        cfg: A training config.
        limit: At most so many.
        device: For tests.

    Raises:
        ConfigError: If one sample does not fit.
    """
    loader = Runner.build_dataloader(
        dict(cfg.train_dataloader, batch_size=1, num_workers=0, persistent_workers=False)
    )
    sample = loader.dataset[0]
    before = logging.root.manager.disable
    logging.disable(logging.INFO)  # several lines for each parameter
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(cfg.model).to(device).train()
        wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    logging.disable(before)

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

    batch = 1
    if not fits(batch):
        raise ConfigError('not even one sample fits on the GPU: use a smaller student or size')
    while batch * 2 <= limit and fits(batch * 2):
        batch *= 2
    return batch


def time_of_iteration(cfg: Config, devices: int) -> float:
    """Seconds of an iteration, of a short run of ``tools/train.py`` with the real data.

    Args:
        cfg: Trains by iterations.
        devices: Processes.
    """
    cfg = copy.deepcopy(cfg)
    cfg.train_cfg.max_iters, cfg.param_scheduler = _TRIAL, None
    cfg.default_hooks.logger.interval = cfg.log_processor.window_size = 1
    cfg.default_hooks.checkpoint.update(interval=10**9, save_last=False)
    with tempfile.TemporaryDirectory() as folder:
        cfg.work_dir = folder
        cfg.dump(Path(folder, 'trial.py'))
        train(Path(folder, 'trial.py'), devices, quiet=True)
        (log,) = Path(folder).rglob('scalars.json')
        times = [json.loads(line)['time'] for line in log.read_text().splitlines()]
    return statistics.median(times[_TRIAL // 2 :])  # the first ones wait for the workers


# -- training ----------------------------------------------------------------------------------


def resume(out: str, name: str, devices: int) -> None:
    """Continue the run of a folder with the config ``name`` that it has.

    Raises:
        ConfigError: If there is none.
    """
    config = Path(out, name)
    if not config.is_file():
        raise ConfigError(f'resume: there is no run in {out} (no file {config})')
    print(f'Continues {out} with {config} as it is', flush=True)
    train(config, devices, '--resume')


def check_new(out: str) -> None:
    """Check that a folder has no run.

    Raises:
        ConfigError: If it has one.
    """
    if Path(out, 'last_checkpoint').exists():
        raise ConfigError(f'{out} has a run: continue it with resume, or give another folder (out)')


def start(cfg: Config, name: str, choices: dict[str, str], devices: int, dry_run: bool) -> None:
    """Write a config into its work folder, print the choices, and train unless ``dry_run``."""
    config = Path(cfg.work_dir, name)
    config.parent.mkdir(parents=True, exist_ok=True)
    cfg.dump(config)
    choices['config'] = str(config)
    width = max(map(len, choices))
    print('\n'.join(f'{key:<{width}}  {text}' for key, text in choices.items()), flush=True)
    if not dry_run:
        train(config, devices)


def licence_of(name: str, cfg: Config | None) -> str | None:
    """The licence of a model: of public weights, or as the config of a run notes it."""
    known = find(name)
    if known:
        return known.licence.lower() if re.fullmatch(r'[\w.-]+', known.licence) else None
    return ((cfg or {}).get('lineage') or {}).get('licence')


def joint_licence(*licences: str | None) -> str | None:
    """The licences of several teachers as one; None if one of them is not known."""
    known = sorted({one for one in licences if one})
    return None if None in licences else ' and '.join(known)


def save_model(folder: Path) -> str:
    """Write the trained model as a model folder into ``model``; a line for the user."""
    shutil.rmtree(folder / 'model', ignore_errors=True)
    return write_model_folder(folder, folder / 'model')


def write_model_folder(source: Any, out: str | os.PathLike) -> str:
    """Write a model folder with the lineage that the model's config notes.

    Args:
        source: See :func:`amd_mm.load`.
        out: A new or empty folder.

    Returns:
        A line for the user.
    """
    import amd_mm

    model = amd_mm.load(source, 'cpu')
    notes = dict(model.cfg.get('lineage') or {})
    reader = model.save(out, notes.pop('licence', None), notes)
    others = '' if reader == 'amd_mm' else f' and {reader}'
    return f'{out} (the model alone, which amd_mm.load{others} reads)'


def train(config: Path, devices: int, *more: str, quiet: bool = False) -> None:
    """Run ``tools/train.py`` in processes of its own, and pass on what it prints.

    SIGTERM is passed on to them: they save a checkpoint, and this program exits with 143.

    Raises:
        ConfigError: If it fails; with its message.
    """
    command = [str(shipped('tools') / 'train.py'), str(config)]
    command += ['--work-dir', str(config.parent), *more]
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
            with passing_sigterm_to(process):
                for line in process.stdout:
                    last = line.strip() or last
                    shown = shown or 'This run:' in line  # MMEngine's list of hooks comes before
                    if shown and not quiet:
                        print(line, end='', flush=True)
        except KeyboardInterrupt:  # which the run gets too: it saves a checkpoint
            process.wait()
            raise
    if process.returncode:
        raise ConfigError(f'training ended with exit status {process.returncode}. {last}')


@contextlib.contextmanager
def passing_sigterm_to(process: subprocess.Popen) -> Iterator[None]:
    """Pass SIGTERM on to a process, and exit after it has ended.

    Outside of the main thread, where Python gets no signals, nothing happens.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        received.append(number)
        process.send_signal(number)

    former = signal.signal(signal.SIGTERM, pass_on)
    try:
        yield
        process.wait()
    finally:
        signal.signal(signal.SIGTERM, former)
    if received:
        raise SystemExit(128 + signal.SIGTERM)
