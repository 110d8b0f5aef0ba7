"""Train a model from a config file.

python tools/train.py CONFIG [--resume] [--cfg-options key=value ...]
bash tools/dist_train.sh CONFIG GPUS ...

Ctrl-C and SIGTERM save a checkpoint, from which --resume goes on as if nothing
had been; the exit code is then 130 or 143.
"""

import argparse
import os
import sys

import amd_mm  # noqa: F401, first: its import-time fixes serve what follows
from amd_mm.engine import ending, launch
from amd_mm.engine.hooks.stop_signals import restore_handlers
from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import Runner


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Train a model')
    launch.add_common_arguments(parser)
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='go on from this checkpoint; without one, from the latest in the work folder',
    )
    parser.add_argument(
        '--amp',
        action='store_true',
        help='mixed precision: bf16 with amd_mm.GuardedOptimWrapper, float16 '
        "with MMEngine's wrapper",
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
        '--deterministic',
        action='store_true',
        help='algorithms that give the same sums twice, also on a GPU; slower',
    )
    return parser.parse_args(argv)


def build_config(args: argparse.Namespace) -> Config:
    """Read the config, apply the arguments and check the paths."""
    launch.check_launcher(args.launcher)
    cfg = launch.load_config(args)
    launch.check_training(cfg)
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.amp:
        launch.enable_amp(cfg)
    if args.auto_scale_lr:
        launch.enable_auto_scale_lr(cfg)
    randomness = cfg.get('randomness') or dict(seed=None)  # a random one
    if args.seed is not None:
        randomness['seed'] = args.seed
    if args.diff_rank_seed:
        randomness['diff_rank_seed'] = True
    if args.deterministic:
        randomness['deterministic'] = True
        # Without it cuBLAS refuses, and PyTorch with it.
        os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
    cfg.randomness = randomness
    launch.set_resume(cfg, args.resume)
    launch.use_cpu_processes(cfg)
    launch.check_paths(cfg, 'train_dataloader')
    launch.check_work_dir(cfg.work_dir)
    return cfg


def main(argv: list[str] | None = None) -> None:
    """Build the runner and train."""
    args = parse_args(argv)
    cfg = runner = None
    try:
        cfg = build_config(args)
        runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
        launch.warn_unscaled_batch(cfg, runner.world_size)
        launch.check_batches(runner)
        runner.train()
    except KeyboardInterrupt:
        print('train.py: interrupted, nothing was saved', file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        ending.leave('train.py', error, cfg, runner)
        raise
    finally:
        restore_handlers()


if __name__ == '__main__':
    main()
