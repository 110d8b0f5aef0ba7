"""From command-line arguments and a config file to a checked config.

Shared by ``tools/train.py`` and ``tools/test.py``. What can be known to be
wrong before anything heavy starts is a :class:`LaunchError` here, whose
message names the file, the config key and what to do.
"""

import argparse
import difflib
import logging
import os
import os.path as osp
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path

import amd_mm
import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import print_log
from mmengine.runner import Runner

from .options import KeyValues, check_options
from .sentences import LaunchError

LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')
# What each launcher tells its processes: (variables, how to start them).
_STARTED_BY = {
    'pytorch': (
        ('RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT'),
        'bash tools/dist_train.sh CONFIG GPUS',
    ),
    'slurm': (
        ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_NODELIST'),
        'bash tools/slurm_train.sh PARTITION JOB CONFIG',
    ),
    'mpi': (
        ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'MASTER_ADDR'),
        'mpirun -x MASTER_ADDR=HOST -n GPUS python tools/train.py CONFIG',
    ),
}
# Where each says which process of its machine this is.
_LOCAL_RANK = {
    'pytorch': 'LOCAL_RANK',
    'slurm': 'SLURM_LOCALID',
    'mpi': 'OMPI_COMM_WORLD_LOCAL_RANK',
}


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that training and testing share.

    Args:
        parser (argparse.ArgumentParser): Extended in place.
    """
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--work-dir',
        help='folder for logs and checkpoints; work_dirs/<config name> unless '
        'given here or in the config',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=KeyValues,
        help='override entries of the config: key=value, e.g. '
        'train_dataloader.batch_size=8; lists as key="[a,b]", nested ones '
        'with quotation marks and without spaces',
    )
    parser.add_argument('--launcher', choices=LAUNCHERS, default='none', help='job launcher')
    # torchrun sets LOCAL_RANK; older launchers pass one of these.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


def load_config(args: argparse.Namespace) -> Config:
    """Read the config and apply the shared arguments.

    Args:
        args (argparse.Namespace): Of :func:`add_common_arguments`.

    Returns:
        Config: With launcher, overrides and ``work_dir``.

    Raises:
        LaunchError: If the file is not there or no config, or an override
            changes nothing.
    """
    if args.launcher != 'none':
        os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    check_config_path(args.config)
    cfg = read_config(args.config)
    cfg.launcher = args.launcher
    if args.cfg_options is not None:
        check_options(cfg, args.cfg_options)
        cfg.merge_from_dict(args.cfg_options)
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = osp.join('work_dirs', Path(args.config).stem)
    return cfg


def config_folder() -> Path | None:
    """Where this package's configs are: in the checkout or the wheel."""
    package = Path(amd_mm.__file__).parent
    for folder in (package.parent / 'configs', package / '.mim' / 'configs'):
        if folder.is_dir():
            return folder
    return None


def check_config_path(path: str) -> None:
    """See that there is a config, and suggest one of ours if there is not.

    Args:
        path (str): As given.

    Raises:
        LaunchError: If there is none.
    """
    if osp.isfile(path):
        return
    message = f'there is no config file {path}'
    folder = config_folder()
    known = (
        {}
        if folder is None
        else {file.name: file for file in folder.rglob('*.py') if '_base_' not in file.parts}
    )
    close = difflib.get_close_matches(osp.basename(path), known, n=3)
    if close:
        message += '; did you mean\n    ' + '\n    '.join(str(known[name]) for name in close)
    raise LaunchError(message)


def read_config(path: str) -> Config:
    """Read a config, which is a program and can fail in any way.

    Args:
        path (str): The file.

    Returns:
        Config: As it is written.

    Raises:
        LaunchError: If it fails; the message says where and how.
    """
    try:
        return Config.fromfile(path)
    except Exception as error:
        # A config is a program: it can fail in any way.
        raise LaunchError(
            f'{_where(error, path)}: this config cannot be read: '
            f'{type(error).__name__}: {getattr(error, "msg", error)}'
        ) from error


def _where(error: BaseException, path: str) -> str:
    """File and line of a config, or of one that it derives from."""
    if isinstance(error, SyntaxError):
        # MMEngine reads a config, or a base of it, by this name.
        for frame, _ in traceback.walk_tb(error.__traceback__):
            named = frame.f_locals.get('filename')
            path = named if named and osp.isfile(named) else path
        return f'{path}, line {error.lineno}' if error.lineno else path
    lines = [
        f'{frame.filename}, line {frame.lineno}'
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.name == '<module>' and 'mmengine' not in frame.filename
    ]
    return lines[-1] if lines and path.endswith('.py') else path


def check_launcher(launcher: str) -> None:
    """See that a launcher has started this process, and on a GPU of its own.

    Args:
        launcher (str): One of :data:`LAUNCHERS`.

    Raises:
        LaunchError: If it did not, or started more processes than GPUs.
    """
    if launcher == 'none':
        return
    needed, command = _STARTED_BY[launcher]
    absent = [name for name in needed if name not in os.environ]
    if absent:
        raise LaunchError(
            f'--launcher {launcher} is set by what starts the processes, '
            f'and {absent[0]} is not in the environment: start with '
            f'`{command}`, or leave --launcher out for one process'
        )
    local = int(os.environ.get(_LOCAL_RANK[launcher], '0'))
    gpus = torch.cuda.device_count()
    if get_device() == 'cuda' and local >= gpus:
        raise LaunchError(
            f'process {local} of this machine (counted from 0) has no GPU: '
            f'there are {gpus}. Start at most {gpus} processes on a machine: '
            f'bash tools/dist_train.sh CONFIG {gpus}'
        )


def check_work_dir(path: str) -> None:
    """Make the work folder now, and see that it can be written to.

    Args:
        path (str): The folder.

    Raises:
        LaunchError: If it cannot.
    """
    try:
        os.makedirs(path, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise LaunchError(
            f'the work folder {path} cannot be written: {error.strerror}. '
            'Give another: --work-dir FOLDER'
        ) from error


def use_cpu_processes(cfg: Config) -> None:
    """Let several processes train without a GPU.

    MMEngine's defaults ask for NCCL and for a device per process. Nothing is
    changed for one process, or where there is an accelerator.

    Args:
        cfg (Config): Changed in place.
    """
    if cfg.launcher == 'none' or get_device() != 'cpu':
        return
    env_cfg = cfg.get('env_cfg') or dict()
    env_cfg.setdefault('dist_cfg', dict())['backend'] = 'gloo'
    cfg.env_cfg = env_cfg
    wrapper = cfg.get('model_wrapper_cfg') or dict(
        type='mmengine.MMDistributedDataParallel',
        # MMEngine's own default, which giving a wrapper switches off.
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    )
    wrapper.setdefault('device_ids', None)
    cfg.model_wrapper_cfg = wrapper


def enable_amp(cfg: Config) -> None:
    """``--amp``: bf16 with our optimiser wrapper, else MMEngine's AMP.

    Args:
        cfg (Config): Changed in place.

    Raises:
        LaunchError: For an optimiser wrapper that is neither.
    """
    name = cfg.optim_wrapper.get('type', 'OptimWrapper')
    short = name.split('.')[-1] if isinstance(name, str) else name.__name__
    if short == 'GuardedOptimWrapper':
        cfg.optim_wrapper.precision = 'bf16'
    elif short in ('OptimWrapper', 'AmpOptimWrapper'):
        cfg.optim_wrapper.type = 'mmengine.AmpOptimWrapper'
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    else:
        raise LaunchError(f'--amp does not know optim_wrapper.type={name}')


def enable_auto_scale_lr(cfg: Config) -> None:
    """``--auto-scale-lr``, with gradient accumulation taken into account.

    MMEngine compares ``base_batch_size`` with the batch of one iteration; a
    step is made from ``accumulative_counts`` of them.

    Args:
        cfg (Config): Changed in place.

    Raises:
        LaunchError: If the config has no ``auto_scale_lr.base_batch_size``.
    """
    scale = cfg.get('auto_scale_lr')
    if not scale or 'base_batch_size' not in scale:
        raise LaunchError(
            '--auto-scale-lr needs auto_scale_lr.base_batch_size in the '
            'config: the number of videos a step that its lr is meant for'
        )
    scale.enable = True
    counts = cfg.optim_wrapper.get('accumulative_counts', 1)
    scale.base_batch_size = scale.base_batch_size / counts


def set_resume(cfg: Config, resume: str | None) -> None:
    """``--resume [FILE]``.

    Args:
        cfg (Config): Changed in place; ``work_dir`` must be set.
        resume (str, optional): A checkpoint, ``auto`` for the latest of the
            work folder (or a fresh start if there is none), or None.

    Raises:
        LaunchError: If the checkpoint is not there.
    """
    if resume is None:
        return
    cfg.resume = True
    if resume == 'auto':
        cfg.load_from = latest_checkpoint(cfg.work_dir)
    elif osp.isfile(resume) or '://' in resume:
        cfg.load_from = resume
    else:
        raise LaunchError(f'--resume {resume}: there is no such checkpoint')


def latest_checkpoint(work_dir: str) -> str | None:
    """The checkpoint that ``last_checkpoint`` of a work folder names.

    Args:
        work_dir (str): May have been moved since: the name is also looked for
            in the folder itself.

    Returns:
        str, optional: None if nothing was saved there yet.

    Raises:
        LaunchError: If the checkpoint is gone.
    """
    note = Path(work_dir) / 'last_checkpoint'
    if not note.is_file():
        print_log(f'--resume: nothing to resume in {work_dir}, starting anew', 'current')
        return None
    named = note.read_text().strip()
    for path in (named, str(Path(work_dir) / osp.basename(named))):
        if '://' in path or osp.isfile(path):
            return path
    raise LaunchError(
        f'--resume: {note} names {named}, which is not there. Give a '
        'checkpoint (--resume FILE), or remove that file to start anew'
    )


def check_paths(cfg: Config, loader: str) -> None:
    """Look for data and checkpoints before models are built.

    Args:
        cfg (Config): The config.
        loader (str): ``train_dataloader`` or ``test_dataloader``.

    Raises:
        LaunchError: If something is not there; names the key.
    """
    dataset = (cfg.get(loader) or {}).get('dataset')
    if isinstance(dataset, dict):
        for key, path in _data_paths(dataset, f'{loader}.dataset'):
            _check_exists(key, path, 'the data', cfg)
    # A tested model starts from nothing but the checkpoint under test.
    model = cfg.get('model') if loader == 'train_dataloader' else None
    for key, path in _checkpoint_paths(model or {}, 'model'):
        _check_exists(key, path, 'the checkpoint', cfg)
    if isinstance(cfg.get('load_from'), str):
        _check_exists('load_from', cfg.load_from, 'the checkpoint', cfg)


def _check_exists(key: str, path: str, what: str, cfg: Config) -> None:
    if '://' in path or osp.exists(path):
        return
    raise LaunchError(
        f'{key} of {cfg.filename or "the config"} asks for {path}, which is '
        f'not there (working folder: {os.getcwd()}). Put {what} there, or say '
        f'where it is: --cfg-options {key}=PATH'
    )


def _data_paths(dataset: dict, key: str) -> Iterator[tuple[str, str]]:
    """(config key, path) of a dataset and the datasets inside it."""
    inner = dataset.get('dataset')
    if isinstance(inner, dict):
        yield from _data_paths(inner, f'{key}.dataset')
    for index, part in enumerate(dataset.get('datasets') or []):
        yield from _data_paths(part, f'{key}.datasets.{index}')
    root = dataset.get('data_root') or ''
    if root:
        yield f'{key}.data_root', root
    if dataset.get('ann_file'):
        yield f'{key}.ann_file', _join(root, dataset['ann_file'])
    for name, prefix in (dataset.get('data_prefix') or {}).items():
        if isinstance(prefix, str) and prefix:
            yield f'{key}.data_prefix.{name}', _join(root, prefix)


def _join(root: str, path: str) -> str:
    return path if '://' in path else osp.join(root, path)


def _checkpoint_paths(part: object, key: str) -> Iterator[tuple[str, str]]:
    """(config key, path) of the weights that a model config asks for."""
    items: list[tuple[object, object]] = []
    if isinstance(part, dict):
        items = list(part.items())
    elif isinstance(part, (list, tuple)):
        items = list(enumerate(part))
    for name, value in items:
        if name in ('checkpoint', 'pretrained') and isinstance(value, str):
            yield f'{key}.{name}', value
        else:
            yield from _checkpoint_paths(value, f'{key}.{name}')


def warn_unscaled_batch(cfg: Config, processes: int) -> None:
    """Say so when the batch is not the one that the config's lr is for.

    Args:
        cfg (Config): A training config.
        processes (int): How many processes there are.
    """
    scale, loader = cfg.get('auto_scale_lr'), cfg.train_dataloader
    if not scale or scale.get('enable') or 'batch_size' not in loader:
        return
    base = scale.get('base_batch_size')
    counts = cfg.optim_wrapper.get('accumulative_counts', 1)
    videos = loader.batch_size * processes * counts
    if base and videos != base:
        print_log(
            f'{videos} videos a step, while the learning rate '
            f'{cfg.optim_wrapper.optimizer.lr} is for {base}. '
            '--auto-scale-lr scales it; optim_wrapper.accumulative_counts '
            'makes larger steps.',
            'current',
            level=logging.WARNING,
        )


def check_training(cfg: Config) -> None:
    """See that a config trains, and that its numbers go together.

    Args:
        cfg (Config): The config.

    Raises:
        LaunchError: If it does not.
    """
    for key in ('train_dataloader', 'train_cfg', 'optim_wrapper'):
        if not cfg.get(key):
            raise LaunchError(
                f'{cfg.filename} has no {key}: it only tests. Train with a config that has one'
            )
    clips, views = cfg.get('clips_per_gpu'), cfg.get('num_views')
    if clips and views and clips % views:
        raise LaunchError(
            f'clips_per_gpu={clips} in {cfg.filename} is no multiple of '
            f'num_views={views}, the clips that are made of each video: set '
            f'it to {max(clips // views, 1) * views}'
        )


def check_batches(runner: Runner) -> None:
    """See that there is at least one batch to train on.

    Args:
        runner (Runner): Built; its training loop is built here.

    Raises:
        LaunchError: If the data set is smaller than a batch.
    """
    loader = runner.train_dataloader
    if len(loader) == 0:
        raise LaunchError(
            f'train_dataloader.batch_size={loader.batch_size} on '
            f'{runner.world_size} process(es) is more than the '
            f'{len(loader.dataset)} videos there are, and drop_last leaves '
            'out what does not fill a batch: nothing would be trained. Set a '
            'smaller batch_size (it counts videos), or give more data'
        )
