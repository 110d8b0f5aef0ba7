"""From the command line to a runner: what ``tools/train.py`` and ``tools/test.py`` share."""

import argparse
import difflib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import amd_mm
import torch
from amd_mm.apis import read_config
from amd_mm.arguments import LAUNCHERS
from amd_mm.errors import CheckpointError, ConfigError
from amd_mm.registry import type_name
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import print_log
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from .agreement import check_data
from .cfg_options import check_options, similar_type
from .hooks import RUNTIME_HOOKS, StopOnSignalHook
from .optim_wrapper import NonFiniteError
from .work_dir import locked

# Errors that the user can mend. Others are shown with a traceback.
_USER_ERRORS = (ValueError, OSError, NonFiniteError, torch.cuda.OutOfMemoryError)


@contextmanager
def errors_as_sentences(tool: str, args: argparse.Namespace) -> Iterator[None]:
    """Print errors that the user can mend as one sentence, and exit with 1."""
    try:
        yield
    except KeyboardInterrupt:
        print(f'{tool}: interrupted, nothing was saved', file=sys.stderr)
        sys.exit(130)
    except _USER_ERRORS as error:
        if args.traceback:
            raise
        if args.launcher != 'none' and (rank := LAUNCHERS[args.launcher]['rank']) in os.environ:
            tool += f' (process {os.environ[rank]})'
        text = str(error)
        if 'Original Traceback' in text:  # a data loader's process puts it before the error
            text = text.rpartition(f'{type(error).__name__}: ')[2].strip()
        sys.exit(f'{tool}: {text}')


# -- config ------------------------------------------------------------------------------------


def load_config(args: argparse.Namespace) -> Config:
    """Read the config and apply the shared arguments.

    Raises:
        ConfigError: If the launcher did not start this process, the config cannot be read, or an
            option would have no effect.
    """
    check_launcher(args.launcher)
    if args.launcher != 'none':
        os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    if not os.path.isfile(args.config):
        raise ConfigError(f'there is no config file {args.config}{_similar_configs(args.config)}')
    cfg = read_config(args.config)
    cfg.launcher = args.launcher
    options = args.cfg_options or {}
    check_options(cfg, options)
    former = dict(cfg.get('train_cfg') or {})
    cfg.merge_from_dict(options)
    if not any(key.startswith('param_scheduler') for key in options):
        for unit in ('max_epochs', 'max_iters'):
            if unit in former and cfg.train_cfg.get(unit, former[unit]) != former[unit]:
                scale_schedule(cfg, cfg.train_cfg[unit] / former[unit], unit == 'max_epochs')
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if (cfg.get(loader) or {}).get('num_workers') == 0:  # torch refuses the others without
            cfg[loader].update(persistent_workers=False, prefetch_factor=None)
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or f'work_dirs/{Path(args.config).stem}'
    return cfg


def _similar_configs(path: str) -> str:
    package = Path(amd_mm.__file__).parent
    folders = (package / '.mim/configs', package.parent / 'configs')  # of a wheel, of a checkout
    known = {file.name: file for folder in folders for file in folder.rglob('*.py')}
    close = difflib.get_close_matches(os.path.basename(path), known, n=3)
    return '; did you mean\n    ' + '\n    '.join(str(known[one]) for one in close) if close else ''


def check_launcher(launcher: str) -> None:
    """Check that the launcher started this process, with a GPU of its own.

    Raises:
        ConfigError: If not.
    """
    if launcher == 'none':
        return
    names = LAUNCHERS[launcher]
    for name in (names['rank'], names['processes']):
        if name not in os.environ:
            raise ConfigError(
                f'--launcher {launcher} needs the environment variable {name}, which the launcher '
                f'sets: start with `{names["start"]}`, or leave out --launcher for one process'
            )
    local, gpus = int(os.environ.get(names['local_rank'], 0)), torch.cuda.device_count()
    if get_device() == 'cuda' and local >= gpus:
        raise ConfigError(
            f'process {local} (counted from 0) has no GPU: there are {gpus}. Start at most {gpus} '
            f'processes on this machine: bash tools/dist_train.sh CONFIG {gpus}'
        )


def _schedulers(schedule: Any, by_epoch: bool = True) -> list[dict]:
    """The configs of a schedule that count epochs, or those that count iterations."""
    found = schedule if isinstance(schedule, list) else [schedule]
    return [one for one in found if isinstance(one, dict) and one.get('by_epoch', True) == by_epoch]


def scale_schedule(cfg: Config, ratio: float, by_epoch: bool) -> None:
    """Scale a schedule with ``train_cfg.max_epochs`` or ``train_cfg.max_iters``."""
    for one in _schedulers(cfg.get('param_scheduler'), by_epoch):
        exact = one.get('convert_to_iter_based')
        for key in ('begin', 'end', 'T_max', 'total_steps', 'step_size', 'milestones', 'periods'):
            values = one.get(key)
            if isinstance(values, (list, tuple)):
                one[key] = [value * ratio if exact else round(value * ratio) for value in values]
            elif values is not None:
                one[key] = values * ratio if exact else round(values * ratio)
        if one.get('end') == one.get('begin', 0) and isinstance(cfg.param_scheduler, list):
            cfg.param_scheduler.remove(one)  # shorter than an epoch or iteration now


def scale_learning_rate(cfg: Config, requested: bool) -> str | None:
    """Scale the learning rate with the videos of an optimiser step, if asked to.

    MMEngine's ``auto_scale_lr`` ignores ``accumulative_counts``, and the logged ``base_lr``.

    Args:
        cfg: A training config, changed in place.
        requested: ``--auto-scale-lr``; ``auto_scale_lr.enable`` in the config does the same.

    Returns:
        A note for the log, if the batch is not the one that the learning rate is for.

    Raises:
        ConfigError: Without ``auto_scale_lr.base_batch_size`` or one learning rate.
    """
    scale = cfg.get('auto_scale_lr') or {}
    base, size = scale.get('base_batch_size'), cfg.train_dataloader.get('batch_size')
    optimizer = cfg.optim_wrapper.get('optimizer') or {}
    requested = requested or scale.get('enable', False)
    if not (base and size and 'lr' in optimizer):
        if requested:
            raise ConfigError(
                '--auto-scale-lr needs auto_scale_lr.base_batch_size (videos of a step that the '
                'learning rate is for), train_dataloader.batch_size and optim_wrapper.optimizer.lr'
            )
        return None
    launcher = cfg.get('launcher', 'none')
    processes = 1 if launcher == 'none' else int(os.environ[LAUNCHERS[launcher]['processes']])
    videos = size * processes * cfg.optim_wrapper.get('accumulative_counts', 1)
    lr = optimizer['lr']
    if not requested:
        if videos == base:
            return None
        return (
            f'{videos} videos a step, but the learning rate {lr} is for {base}. Use '
            '--auto-scale-lr, or optim_wrapper.accumulative_counts for larger steps.'
        )
    optimizer['lr'] = lr * videos / base
    # MMEngine does not scale again, nor does this function on the config that the run writes.
    scale['enable'], scale['base_batch_size'] = False, videos
    return f'--auto-scale-lr: {lr} for {base} videos a step is {optimizer["lr"]} for {videos}'


def use_amp(cfg: Config) -> None:
    """``--amp``: bfloat16 with our optimiser wrapper, float16 with MMEngine's.

    Raises:
        ConfigError: For other wrappers.
    """
    name = type_name(cfg.optim_wrapper) or 'OptimWrapper'
    if name == 'GuardedOptimWrapper':
        cfg.optim_wrapper.precision = 'bf16'
    elif name in ('OptimWrapper', 'AmpOptimWrapper'):
        cfg.optim_wrapper.type = 'mmengine.AmpOptimWrapper'
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    else:
        raise ConfigError(f'--amp does not support optim_wrapper.type={name}')


def keep_runtime_hooks(cfg: Config) -> str | None:
    """Add the hooks of our runtime that a config's own ``custom_hooks`` replaced.

    Returns:
        A note for the log, if some were added.
    """
    hooks = list(cfg.get('custom_hooks') or [])
    present = [type_name(hook) for hook in hooks]
    missing = [name for name in RUNTIME_HOOKS if not any(one.endswith(name) for one in present)]
    if 'FSDP' in type_name(cfg.get('strategy') or {}):
        missing = [name.replace('StrictLoadHook', 'FSDPStrictLoadHook') for name in missing]
    cfg.custom_hooks = [dict(type=f'amd_mm.{name}') for name in missing] + hooks
    return f'custom_hooks lacks, and gets, {", ".join(missing)}' if missing else None


def use_cpu_processes(cfg: Config) -> None:
    """Let several processes run without GPUs: MMEngine's defaults are NCCL and a device each."""
    if cfg.launcher == 'none' or get_device() != 'cpu':
        return
    cfg.env_cfg = cfg.get('env_cfg') or dict()
    cfg.env_cfg.setdefault('dist_cfg', dict())['backend'] = 'gloo'
    cfg.model_wrapper_cfg = cfg.get('model_wrapper_cfg') or dict(
        type='mmengine.MMDistributedDataParallel',
        broadcast_buffers=False,  # MMEngine's default, which a wrapper's config replaces
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    )
    cfg.model_wrapper_cfg.setdefault('device_ids', None)


def find_resumed(cfg: Config, resume: str | None) -> str | None:
    """The checkpoint of ``--resume [FILE]``.

    Args:
        cfg: With ``work_dir``.
        resume: A checkpoint; ``auto`` for the one that ``last_checkpoint`` of the work folder
            names, if it is there; or None. The work folder may have been moved.

    Raises:
        CheckpointError: If the checkpoint is missing.
    """
    note, remedy = Path(cfg.work_dir) / 'last_checkpoint', ''
    if resume == 'auto':
        if not note.is_file():
            print_log(f'--resume: no checkpoint in {cfg.work_dir}, starting anew', 'current')
            return None
        named = note.read_text().strip()
        moved = str(note.with_name(os.path.basename(named)))
        resume = moved if os.path.isfile(moved) else named
        remedy = f'; remove {note} to start anew'
    if resume and '://' not in resume and not os.path.isfile(resume):
        raise CheckpointError(f'--resume: there is no checkpoint {resume}{remedy}')
    return resume


def check_training(cfg: Config) -> None:
    """Validate a training config, and make its work folder.

    Raises:
        ConfigError: If it has no training, or numbers that contradict each other.
    """
    for key in ('train_dataloader', 'train_cfg', 'optim_wrapper'):
        if not cfg.get(key):
            raise ConfigError(f'{cfg.filename} has no {key}: it only tests')
    for unit, key in (('epoch', 'max_epochs'), ('iteration', 'max_iters')):
        if last := cfg.train_cfg.get(key):
            schedule = _schedulers(cfg.get('param_scheduler'), by_epoch=unit == 'epoch')
            _check_schedule(schedule, unit, key, last)
    try:
        os.makedirs(cfg.work_dir, exist_ok=True)
        tempfile.TemporaryFile(dir=cfg.work_dir).close()
    except OSError as error:
        raise ConfigError(
            f'cannot write into the work folder {cfg.work_dir}: {error.strerror}. Use another '
            '--work-dir'
        ) from error


def _check_schedule(schedule: list[dict], unit: str, key: str, last: int) -> None:
    """Check that every scheduler begins before it ends, at the latest with training."""
    for one in schedule:
        end = one.get('end', last)
        if one.get('begin', 0) >= end:
            raise ConfigError(
                f'param_scheduler: {one["type"]} begins at {unit} {one["begin"]} and ends at '
                f'{unit} {end}, with train_cfg.{key}={last}: change begin and end too, or only '
                f'--cfg-options train_cfg.{key}=N, which scales them'
            )


def check_paths(cfg: Config, loader: str) -> None:
    """Check that data and checkpoints exist, before models are built.

    Args:
        cfg: The config.
        loader: ``train_dataloader`` or ``test_dataloader``.

    Raises:
        ConfigError: If something is missing; names the key.
    """
    paths = [*_paths((cfg.get(loader) or {}).get('dataset'), f'{loader}.dataset')]
    if loader == 'train_dataloader':  # a tested model needs only the checkpoint under test
        paths += _paths(cfg.get('model'), 'model')
    if isinstance(cfg.get('load_from'), str):
        paths.append(('load_from', cfg.load_from))
    for key, path in paths:
        if '://' not in path and not os.path.exists(path):
            raise ConfigError(
                f'{key} of {cfg.filename or "the config"} is {path}, which is not there (working '
                f'folder: {os.getcwd()}). Put the file there, or use --cfg-options {key}=PATH'
            )


def _paths(part: Any, key: str, root: str = '') -> Iterator[tuple[str, str]]:
    """(config key, path) of the data and the weights that a config names."""
    if isinstance(part, dict):
        root = part.get('data_root') or root
        part = part.items()
    elif isinstance(part, (list, tuple)):
        part = enumerate(part)
    else:
        return
    for name, value in part:
        below = name == 'ann_file' or key.endswith('.data_prefix')
        if isinstance(value, list) and (below or name == 'data_root'):
            raise ConfigError(
                f'{key}.{name} is a list, {value}. A path with commas needs quotation marks: '
                f'--cfg-options \'{key}.{name}="{", ".join(map(str, value))}"\''
            )
        if not isinstance(value, str):
            yield from _paths(value, f'{key}.{name}', root if name == 'data_prefix' else '')
        elif value and (below or name in ('data_root', 'checkpoint', 'pretrained')):
            yield f'{key}.{name}', os.path.join(root, value) if below else value


# -- runner ------------------------------------------------------------------------------------


@contextmanager
def building(cfg: Config) -> Iterator[None]:
    """Raise errors of building a config as a ConfigError, in their own words."""
    try:
        yield
    except (AssertionError, ImportError, KeyError, RuntimeError, TypeError) as error:
        words = str(error)
        if isinstance(error, KeyError) and error.args:  # MMEngine: the name is not registered
            words = str(error.args[0]).partition('. Please check')[0]
            words += similar_type(words)
        raise ConfigError(f'{cfg.filename}: {type(error).__name__}: {words}') from error


# Lines of MMEngine's and MMAction2's constructors of optimisers, several for each parameter.
_OPTIONS_OF_PARAMETERS = ('paramwise_options', 'set param ', 'Param groups')


def build_runner(cfg: Config) -> Runner:
    """Build the runner, without hundreds of lines about parameters on the terminal."""
    runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
    for handler in runner.logger.handlers:
        if not isinstance(handler, logging.FileHandler):
            handler.addFilter(lambda one: not one.getMessage().startswith(_OPTIONS_OF_PARAMETERS))
    return runner


def build_training(cfg: Config, resumed: str | None = None) -> Runner:
    """Build the runner, its data and its optimiser.

    Args:
        cfg: The config, which the runner writes into the work folder.
        resumed: Checkpoint to continue; not in the written config, which starts the run again.

    Raises:
        ConfigError: If something cannot be built, or the data do not fill a batch.
    """
    with building(cfg):
        runner = build_runner(cfg)
        loader = runner.train_dataloader
        datasets = dict(train=loader.dataset)
        if cfg.get('val_cfg'):
            datasets['val'] = runner.val_dataloader.dataset
        check_data(cfg, **datasets)
        if isinstance(runner, Runner):
            runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    if len(loader) == 0:
        raise ConfigError(
            f'train_dataloader.batch_size={loader.batch_size} on {runner.world_size} process(es) '
            f'is more than the {len(loader.dataset)} videos, and drop_last drops incomplete '
            'batches: set a smaller batch_size (in videos), or add data'
        )
    # A warm-up that was scaled to less than an iteration.
    for one in _schedulers(runner.param_schedulers):
        begin, end = (one.get(key, default) for key, default in (('begin', 0), ('end', 10**9)))
        if one.get('convert_to_iter_based') and int(begin * len(loader)) == int(end * len(loader)):
            runner.param_schedulers.remove(one)
    if resumed:
        runner._resume, runner._load_from = True, resumed
    if runner.cfg.randomness.get('seed') is None:  # one was drawn
        runner.cfg.randomness.seed = runner.seed
        runner.dump_config()
    return runner


def one_run(cfg: Config) -> AbstractContextManager:
    """Lock the work folder of a config, on the first process."""
    rank = '0' if cfg.launcher == 'none' else os.environ[LAUNCHERS[cfg.launcher]['rank']]
    return locked(cfg.work_dir) if rank == '0' else nullcontext()


def train(runner: Runner) -> None:
    """Train. If an error ends the run, the finished steps are saved as Ctrl-C saves them.

    Raises:
        ConfigError: If a process of the data loader was killed.
    """
    try:
        runner.train()
    except Exception as error:
        hook = next((one for one in runner.hooks if isinstance(one, StopOnSignalHook)), None)
        # Before a NaN, an older checkpoint is a better start; a full disk takes no other one.
        if hook and not isinstance(error, (NonFiniteError, CheckpointError)):
            hook.save_after_error(runner)
        if 'DataLoader worker (pid' not in str(error) and not isinstance(error, ConnectionError):
            raise
        raise ConfigError(
            f'a process of a data loader was killed ({error}), as the system does when memory or '
            '/dev/shm is full: set a smaller num_workers, and continue with --resume'
        ) from error
