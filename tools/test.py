r"""Test a checkpoint with a config file.

    python tools/test.py CONFIG CHECKPOINT
    python tools/test.py CONFIG CHECKPOINT --dump predictions.pkl \
        --report work_dirs/report --labels label_map.txt
    bash tools/dist_test.sh CONFIG CHECKPOINT GPUS ...

All clips and crops of a video go through the model at once. To pass 5 at a time, with the same
scores: --cfg-options model.test_cfg.max_testing_views=5 test_dataloader.batch_size=1
"""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

import _venv  # noqa: F401, first: finds the packages
from amd_mm.arguments import add_common_arguments
from amd_mm.errors import CheckpointError, ConfigError
from amd_mm.registry import type_name
from mmengine.config import Config

if TYPE_CHECKING:
    from mmengine.runner import Runner

_PROGRESS_LINES = 10


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_common_arguments(parser)
    parser.add_argument('checkpoint', help='checkpoint file or address')
    parser.add_argument('--dump', help='pickle file (.pkl) for the predictions')
    parser.add_argument(
        '--report',
        metavar='DIR',
        help='folder for accuracies of each class and the confusion matrix, as CSV and PNG',
    )
    parser.add_argument(
        '--labels',
        metavar='FILE',
        help='class names for --report: a text file with one a line, or .json',
    )
    args = parser.parse_args(argv)
    if args.labels is not None and args.report is None:
        parser.error('--labels is for --report DIR')
    return args


def build_config(args: argparse.Namespace) -> Config:
    """Read the config, apply the arguments, and validate."""
    from amd_mm.engine import launch
    from amd_mm.engine.agreement import TESTED, check_metrics, check_numbers
    from amd_mm.evaluation.label_map import read_label_map

    cfg = launch.load_config(args)
    images = cfg.get('default_scope') == 'mmpretrain'
    metric = 'mmpretrain.Accuracy' if images else 'mmaction.AccMetric'
    for key, remedy in (
        ('test_dataloader', 'it only trains. Test with a recognition or detection config'),
        ('test_evaluator', f"add one, e.g. test_evaluator=dict(type='{metric}')"),
    ):
        if not cfg.get(key):
            raise ConfigError(f'{args.config} has no {key}: {remedy}')
    check_views(cfg)
    if '://' not in args.checkpoint and not os.path.exists(args.checkpoint):
        raise CheckpointError(
            f'there is no checkpoint {args.checkpoint} (working folder: {os.getcwd()})'
        )
    cfg.load_from, cfg.resume = args.checkpoint, False
    load_strictly(cfg)
    if args.report is not None:
        classes = num_classes(cfg)
        if classes is None:
            raise ConfigError('--report needs a classifier: a head with num_classes')
        if args.labels is not None:
            read_label_map(args.labels, classes)
        make_folder(Path(args.report), '--report')
        several = cfg.test_dataloader.dataset.get('multi_class')
        kind = 'amd_mm.MultiLabelReport' if several else 'amd_mm.ClassificationReport'
        add_metric(cfg, dict(type=kind, out_dir=args.report, label_map=args.labels))
    if args.dump is not None:
        if not args.dump.endswith(('.pkl', '.pickle')):
            raise ConfigError(f'--dump {args.dump} must end in .pkl or .pickle')
        make_folder(Path(args.dump).parent, '--dump')
        # The dump comes first: predictions are kept even if another metric fails.
        add_metric(cfg, dict(type='mmengine.DumpResults', out_file_path=args.dump), first=True)
    launch.use_cpu_processes(cfg)
    launch.check_paths(cfg, 'test_dataloader')
    check_metrics(cfg, 'test')
    check_numbers(cfg, TESTED)
    return cfg


def check_views(cfg: Config) -> None:
    """Check that the views of a video become one prediction.

    Raises:
        ConfigError: If the head would not average its scores, or views of several videos would be
            split.
    """
    model = cfg.get('model') or {}
    head, test_cfg = model.get('cls_head'), model.get('test_cfg') or {}
    if type_name(model) not in ('Recognizer2D', 'Recognizer3D') or not head:
        return
    averaged = head.get('average_clips') or test_cfg.get('average_clips')
    if averaged is None:
        raise ConfigError(
            "a video's scores of all views are not averaged: --cfg-options "
            'model.cls_head.average_clips=prob'
        )
    loss = type_name(head.get('loss_cls') or {})
    if (averaged, loss) == ('prob', 'BCELossWithLogits'):
        raise ConfigError(
            'model.cls_head.average_clips=prob is the softmax, which a model trained with '
            f'{loss} has not: --cfg-options model.cls_head.average_clips=score'
        )
    if test_cfg.get('max_testing_views') and cfg.test_dataloader.get('batch_size', 1) != 1:
        raise ConfigError(
            'model.test_cfg.max_testing_views splits the views of one video: --cfg-options '
            'test_dataloader.batch_size=1'
        )


def load_strictly(cfg: Config) -> None:
    """Add a ``StrictLoadHook`` unless the config has one."""
    hooks = list(cfg.get('custom_hooks') or [])
    if not any('StrictLoadHook' in type_name(hook) for hook in hooks):
        hooks.append(dict(type='amd_mm.StrictLoadHook'))
    cfg.custom_hooks = hooks


def num_classes(cfg: Config) -> int | None:
    """Number of classes of a classifier; None for other models."""
    model = cfg.get('model') or {}
    return (model.get('cls_head') or model.get('head') or {}).get('num_classes')


def make_folder(folder: Path, option: str) -> None:
    """Make a folder for results before hours of testing.

    Raises:
        ConfigError: If it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f'{option}: cannot make the folder {folder}: {error}') from error
    if not os.access(folder, os.W_OK):
        raise ConfigError(f'{option}: {folder} is not writable')


def add_metric(cfg: Config, metric: dict, first: bool = False) -> None:
    """Add a metric to any form of evaluator."""
    evaluator = cfg.test_evaluator
    wrapped = isinstance(evaluator, dict) and 'metrics' in evaluator
    metrics = evaluator['metrics'] if wrapped else evaluator
    metrics = list(metrics) if isinstance(metrics, (list, tuple)) else [metrics]
    metrics.insert(0 if first else len(metrics), metric)
    if wrapped:
        evaluator['metrics'] = metrics
    else:
        cfg.test_evaluator = metrics


def log_progress(runner: 'Runner') -> None:
    """Log at least ten lines, also of short tests."""
    from mmengine.hooks import LoggerHook

    most = max(1, len(runner.test_dataloader) // _PROGRESS_LINES)
    for hook in runner.hooks:
        if isinstance(hook, LoggerHook):
            hook.interval = min(hook.interval, most)


def main(argv: list[str] | None = None) -> dict[str, float]:
    """Test, and return the metrics."""
    args = parse_args(argv)
    # Imports the host codebases, which --help does not need.
    from amd_mm.engine import launch
    from amd_mm.engine.agreement import check_data

    with launch.errors_as_sentences('test.py', args):
        cfg = build_config(args)
        with launch.building(cfg):
            runner = launch.build_runner(cfg)
            check_data(cfg, test=runner.test_dataloader.dataset)
        log_progress(runner)
        return runner.test()


if __name__ == '__main__':
    main()
