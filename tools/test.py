r"""Test a checkpoint with a config file.

    python tools/test.py CONFIG CHECKPOINT
    python tools/test.py CONFIG CHECKPOINT --dump predictions.pkl \\
        --report work_dirs/report --labels label_map.txt
    bash tools/dist_test.sh CONFIG CHECKPOINT GPUS ...

Memory: all clips and crops of a video go through the model at once. To let
only 5 at a time, with the same scores,
--cfg-options model.test_cfg.max_testing_views=5 test_dataloader.batch_size=1
"""

import argparse
import os
import pickle
import re
import sys
from pathlib import Path

import amd_mm  # noqa: F401, first: its import-time fixes serve what follows
from amd_mm.checkpoints import CheckpointError, CheckpointMismatchError, read_checkpoint
from amd_mm.engine import ending, launch
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.hooks import LoggerHook
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from torch.utils.data import Dataset

# A short test has about so many lines of progress, too.
_LINES = 10


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    launch.add_common_arguments(parser)
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
    """Read the config, apply the arguments and check the paths."""
    cfg = launch.load_config(args)
    if cfg.get('test_dataloader') is None:
        raise launch.LaunchError(
            f'{args.config} has no test_dataloader: it only trains. Test with '
            'a recognition or detection config'
        )
    if not cfg.get('test_evaluator'):
        raise launch.LaunchError(
            f'{args.config} has no test_evaluator: nothing would be measured. '
            "Give it one, e.g. test_evaluator=dict(type='mmaction.AccMetric')"
        )
    check_views(cfg)
    _check_file(args.checkpoint)
    cfg.load_from = args.checkpoint
    cfg.resume = False
    load_strictly(cfg)
    if args.report is not None:
        _report_classes(cfg, args.report, args.labels)
    if args.dump is not None:
        _dump_predictions(cfg, args.dump)
    launch.use_cpu_processes(cfg)
    launch.check_paths(cfg, 'test_dataloader')
    return cfg


def _check_file(checkpoint: str) -> None:
    """What MMEngine, which reads the file, cannot read."""
    if '://' not in checkpoint and not os.path.exists(checkpoint):
        raise launch.LaunchError(
            f'there is no checkpoint {checkpoint} (working folder: {os.getcwd()})'
        )
    if os.path.isdir(checkpoint) or checkpoint.endswith('.safetensors'):
        raise launch.LaunchError(
            f'{checkpoint} must become a .pth file first: python '
            f'tools/convert_checkpoint.py {checkpoint} model.pth'
        )


def check_views(cfg: Config) -> None:
    """See that the views of a video are going to be one prediction.

    Args:
        cfg (Config): Of any task; others than recognition pass.

    Raises:
        launch.LaunchError: If the head would not average its scores, or the
            views are to be split up and the batch holds several videos.
    """
    model = cfg.get('model') or {}
    head, test_cfg = model.get('cls_head'), model.get('test_cfg') or {}
    if _short_name(model) not in ('Recognizer2D', 'Recognizer3D') or not head:
        return
    if (head.get('average_clips') or test_cfg.get('average_clips')) is None:
        raise launch.LaunchError(
            'the scores of the views of a video would not be averaged, and '
            'no metric can read them: --cfg-options '
            'model.cls_head.average_clips=prob'
        )
    batch = cfg.test_dataloader.get('batch_size', 1)
    if test_cfg.get('max_testing_views') and batch != 1:
        raise launch.LaunchError(
            'model.test_cfg.max_testing_views splits up the views of one '
            f'video, and test_dataloader.batch_size is {batch}: --cfg-options '
            'test_dataloader.batch_size=1'
        )


def load_strictly(cfg: Config) -> None:
    """Let no weight be missing, whoever wrote the config.

    Args:
        cfg (Config): Changed in place, if it has no ``StrictLoadHook`` yet.
    """
    hooks = list(cfg.get('custom_hooks') or [])
    if not any(_short_name(hook) == 'StrictLoadHook' for hook in hooks):
        hooks.append(dict(type='amd_mm.StrictLoadHook'))
    cfg.custom_hooks = hooks


def _short_name(part: dict) -> str:
    name = part.get('type', '')
    name = name if isinstance(name, str) else name.__name__
    return name.rpartition('.')[2]


def _num_classes(cfg: Config) -> int | None:
    """Of a classifier; None for another model."""
    model = cfg.get('model') or {}
    head = model.get('cls_head') or model.get('head') or {}
    return head.get('num_classes')


def _dump_predictions(cfg: Config, path: str) -> None:
    if not path.endswith(('.pkl', '.pickle')):
        raise launch.LaunchError(f'--dump {path} must end in .pkl or .pickle')
    _make_folder(Path(path).parent, '--dump')
    # First, so that no trouble of another metric costs the predictions.
    _add_metric(cfg, dict(type='mmengine.DumpResults', out_file_path=path), first=True)


def _report_classes(cfg: Config, folder: str, labels: str | None) -> None:
    from amd_mm.errors import ConfigError
    from amd_mm.evaluation.label_map import read_label_map

    num_classes = _num_classes(cfg)
    if num_classes is None:
        raise launch.LaunchError(
            '--report is for classifiers (model.cls_head or model.head with '
            'num_classes), which this config is not'
        )
    try:
        if labels is not None:
            read_label_map(labels, num_classes)
    except ConfigError as error:
        raise launch.LaunchError(f'--labels: {error}') from error
    _make_folder(Path(folder), '--report')
    _add_metric(cfg, dict(type='amd_mm.ClassificationReport', out_dir=folder, label_map=labels))


def _make_folder(folder: Path, option: str) -> None:
    """Now, not after hours of testing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise launch.LaunchError(
            f'{option}: the folder {folder} cannot be made: {error}'
        ) from error
    if not os.access(folder, os.W_OK):
        raise launch.LaunchError(f'{option}: {folder} is not writable')


def _add_metric(cfg: Config, metric: dict, first: bool = False) -> None:
    """Add a metric to whichever form of evaluator the config has."""
    evaluator = cfg.test_evaluator
    wrapped = isinstance(evaluator, dict) and 'metrics' in evaluator
    metrics = evaluator['metrics'] if wrapped else evaluator
    if not isinstance(metrics, (list, tuple)):
        metrics = [metrics]
    metrics = [metric, *metrics] if first else [*metrics, metric]
    if wrapped:
        evaluator['metrics'] = metrics
    else:
        cfg.test_evaluator = metrics


def check_labels(dataset: Dataset, num_classes: int | None) -> None:
    """See that the classes of the data are classes of the model.

    Args:
        dataset (Dataset): Passes if it does not tell labels, or several.
        num_classes (int, optional): Of the model; None if it has none.

    Raises:
        launch.LaunchError: If a label is too large: its videos would be
            counted as wrong, whatever the model says.
    """
    if num_classes is None or not hasattr(dataset, 'get_data_info'):
        return
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        label = info.get('label', info.get('gt_label'))
        if not isinstance(label, int):
            return
        if label >= num_classes:
            raise launch.LaunchError(
                f'sample {index} of {getattr(dataset, "ann_file", "the data")}'
                f' has the label {label}, but the model has {num_classes} '
                'classes, counted from 0: see test_dataloader.dataset and '
                'model.cls_head.num_classes'
            )


def log_often_enough(runner: Runner) -> None:
    """Show the progress of short tests as well.

    Args:
        runner (Runner): Its logger's interval becomes smaller if need be.
    """
    interval = max(1, len(runner.test_dataloader) // _LINES)
    for hook in runner.hooks:
        if isinstance(hook, LoggerHook):
            hook.interval = min(hook.interval, interval)


def run(runner: Runner, checkpoint: str) -> dict[str, float]:
    """Test, and say in a sentence what is wrong with the checkpoint.

    Returns:
        Dict[str, float]: Of all metrics.

    Raises:
        CheckpointError: If the checkpoint cannot be read or does not fit.
        launch.LaunchError: If a video cannot be read.
    """
    try:
        return runner.test()
    except CheckpointError:
        raise
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        _explain_unreadable_video(error)
        # Our reader knows what is wrong with a file that MMEngine's cannot
        # read. If it is not the file, the error speaks for itself.
        if not runner._has_loaded and os.path.exists(checkpoint):
            read_checkpoint(checkpoint)
        raise


def _explain_unreadable_video(error: Exception) -> None:
    """End with a sentence if that is what the error is about."""
    # Out of a loader's process comes a RuntimeError with the text of it.
    found = re.search('UnreadableVideoError: (cannot read .*)', f'{type(error).__name__}: {error}')
    if found:
        raise launch.LaunchError(
            f'{found.group(1)}. Without it there is no accuracy of this list: '
            'repair the video, or test on the clean list that '
            'tools/check_videos.py --min-frames 1 writes'
        ) from error


def explain(error: CheckpointError, checkpoint: str) -> str:
    """In a sentence, where the loader's list of names is not needed.

    Args:
        error (CheckpointError): Of the strict loader.
        checkpoint (str): The file.

    Returns:
        str: What to tell the user.
    """
    if not isinstance(error, CheckpointMismatchError):
        return str(error)
    shapes = error.mismatched
    if shapes and not error.missing and all(map(_is_head, shapes)):
        (theirs, *_), (ours, *_) = next(iter(shapes.values()))
        return (
            f'{checkpoint} tells {theirs} classes apart and the config '
            f'{ours}: give the checkpoint that was trained with this '
            'config, or the config that it was trained with'
        )
    if any(map(_is_head, error.missing)):
        return (
            f'{checkpoint} has no classifier for this config: it is from '
            'pre-training or of another method. Fine-tune it first and '
            'test the checkpoint that comes of it'
        )
    return (
        f'{checkpoint} is not of the model of this config: give the '
        'checkpoint that was trained with it.\n' + str(error)
    )


def _is_head(name: str) -> bool:
    return name.partition('.')[0] in ('cls_head', 'head')


def main(argv: list[str] | None = None) -> dict[str, float]:
    """Build the runner and test; gives all metrics."""
    args = parse_args(argv)
    cfg = runner = None
    try:
        launch.check_launcher(args.launcher)
        cfg = build_config(args)
        runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
        check_labels(runner.test_dataloader.dataset, _num_classes(cfg))
        log_often_enough(runner)
        return run(runner, args.checkpoint)
    except CheckpointError as error:
        text = explain(error, args.checkpoint)
        sys.exit(f'test.py: {text}' if is_main_process() else 1)
    except KeyboardInterrupt:
        print('test.py: interrupted', file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        ending.leave('test.py', error, cfg, runner)
        raise


if __name__ == '__main__':
    main()
