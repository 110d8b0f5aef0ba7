"""Test a checkpoint with a config file.

    python tools/test.py CONFIG CHECKPOINT [--dump predictions.pkl]
    bash tools/dist_test.sh CONFIG CHECKPOINT GPUS ...
"""
import argparse
import sys

import amd_mm  # noqa: F401, first: its import-time fixes serve what follows
from amd_mm.engine import launch
from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import Runner


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Test a model')
    launch.add_common_arguments(parser)
    parser.add_argument('checkpoint', help='checkpoint file or address')
    parser.add_argument(
        '--dump', help='pickle file (.pkl) for the predictions')
    return parser.parse_args()


def build_config(args: argparse.Namespace) -> Config:
    """Read the config, apply the arguments and check the paths."""
    cfg = launch.load_config(args)
    if cfg.get('test_dataloader') is None:
        raise launch.LaunchError(
            f'{args.config} has no test_dataloader: it only trains. Test with '
            'a recognition or detection config')
    cfg.load_from = args.checkpoint
    cfg.resume = False
    if args.dump is not None:
        _dump_predictions(cfg, args.dump)
    launch.use_cpu_processes(cfg)
    launch.check_paths(cfg, 'test_dataloader')
    return cfg


def _dump_predictions(cfg: Config, path: str) -> None:
    if not path.endswith(('.pkl', '.pickle')):
        raise launch.LaunchError(f'--dump {path} must end in .pkl or .pickle')
    evaluators = cfg.test_evaluator
    if not isinstance(evaluators, (list, tuple)):
        evaluators = [evaluators]
    cfg.test_evaluator = [
        *evaluators,
        dict(type='mmengine.DumpResults', out_file_path=path)
    ]


def main() -> None:
    """Build the runner and test."""
    args = parse_args()
    try:
        cfg = build_config(args)
    except launch.LaunchError as error:
        sys.exit(f'test.py: {error}')
    runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(
        cfg)
    runner.test()


if __name__ == '__main__':
    main()
