r"""Draw the learning rate of a config before the run.

    python tools/visualize/learning_rate.py CONFIG --out lr.png
    python tools/visualize/learning_rate.py CONFIG --videos 240000 --gpus 8 --out lr.png

The length of an epoch follows from the training set, the batch size and the number of GPUs; with
--videos the data are not needed. Factors of single layers (layer-wise decay) and --auto-scale-lr
are left out.
"""

import argparse
import sys

import _venv  # noqa: F401, first: finds the packages
import amd_mm  # noqa: F401, first: its import-time fixes serve what follows
from amd_mm.engine import launch
from amd_mm.errors import ConfigError
from amd_mm.registry import DATASETS
from amd_mm.visualization.before_training import draw_learning_rate, learning_rates
from amd_mm.visualization.plots import check_picture
from common import (
    add_config_arguments,
    check_training_data,
    new_parser,
    read_training_config,
    run_tool,
)


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = new_parser(__file__, __doc__)
    add_config_arguments(parser)
    parser.add_argument('--videos', type=int, help='size of the training set (default: its own)')
    parser.add_argument('--gpus', type=int, default=1, help='number of processes (1)')
    return parser


def run(args: argparse.Namespace) -> None:
    """Compute and draw."""
    check_picture(args.out)
    cfg = read_training_config(args)
    loader, videos = cfg.train_dataloader, args.videos
    with launch.building(cfg):
        if videos is None:
            check_training_data(cfg)
            videos = len(DATASETS.build(loader.dataset))
        share = -(-videos // args.gpus)
        length = share // loader.batch_size
        if not loader.get('drop_last'):
            length = -(-share // loader.batch_size)
        if not length:
            raise ConfigError(f'{videos} videos do not fill a batch of {loader.batch_size}')
        rates = learning_rates(cfg, length)
    title = f'{videos} videos, {args.gpus} x {loader.batch_size} a step'
    path = draw_learning_rate(rates, length, args.out, title)
    print(f'wrote {path}: {len(rates)} iterations, {length} an epoch; highest {max(rates):g}')


def main(argv: list[str] | None = None) -> int:
    """Run the tool; the exit code."""
    return run_tool(make_parser(), run, argv)


if __name__ == '__main__':
    sys.exit(main())
