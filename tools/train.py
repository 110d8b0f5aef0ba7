"""Train a model from a config file.

python tools/train.py CONFIG [--resume] [--cfg-options key=value ...]
bash tools/dist_train.sh CONFIG GPUS ...

Ctrl-C and SIGTERM save a checkpoint and exit with 130 and 143. --resume continues from it exactly.
"""

import argparse
import os

import _venv  # noqa: F401, first: finds the packages
from amd_mm.arguments import add_common_arguments
from mmengine.config import Config


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Train a model')
    add_common_arguments(parser)
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='continue from this checkpoint (default: the latest in the work folder)',
    )
    parser.add_argument(
        '--amp',
        action='store_true',
        help="mixed precision: bf16 with amd_mm.GuardedOptimWrapper, float16 with MMEngine's",
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate with the number of videos a step',
    )
    parser.add_argument('--no-validate', action='store_true', help='train without validation')
    parser.add_argument('--seed', type=int, help='random seed')
    parser.add_argument(
        '--diff-rank-seed', action='store_true', help='seed every process differently'
    )
    parser.add_argument(
        '--deterministic', action='store_true', help='reproducible on a GPU too; slower'
    )
    return parser.parse_args(argv)


def build_config(args: argparse.Namespace) -> Config:
    """Read the config, apply the arguments, and validate."""
    from amd_mm.engine import launch
    from amd_mm.engine.agreement import check_metrics, check_numbers

    cfg = launch.load_config(args)
    launch.check_training(cfg)
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.amp:
        launch.use_amp(cfg)
    cfg.randomness = cfg.get('randomness') or dict(seed=None)
    if args.seed is not None:
        cfg.randomness.seed = args.seed
    if args.diff_rank_seed:
        cfg.randomness.diff_rank_seed = True
    if args.deterministic:
        cfg.randomness.deterministic = True
    if cfg.randomness.get('deterministic'):
        os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')  # cuBLAS needs it
    launch.use_cpu_processes(cfg)
    launch.check_paths(cfg, 'train_dataloader')
    check_metrics(cfg, 'val')
    check_numbers(cfg)
    return cfg


def main(argv: list[str] | None = None) -> None:
    """Train."""
    args = parse_args(argv)
    # Imports the host codebases, which --help does not need.
    from amd_mm.engine import launch

    with launch.errors_as_sentences('train.py', args):
        cfg = build_config(args)
        resumed = launch.find_resumed(cfg, args.resume)
        hooks = launch.keep_runtime_hooks(cfg)
        note = launch.scale_learning_rate(cfg, args.auto_scale_lr)
        with launch.one_run(cfg):
            runner = launch.build_training(cfg, resumed)
            for text in filter(None, (hooks, note)):
                runner.logger.warning(text)
            launch.train(runner)


if __name__ == '__main__':
    main()
