r"""Draw what training runs logged: losses, accuracy, learning rate, speed.

    python tools/visualize/training_curves.py WORK_DIR ... --out curves.png
    python tools/visualize/training_curves.py AMD=work_dirs/a VideoMAE=work_dirs/b \
        --smooth 0.1 --out curves.png

A resumed run is one curve: where its logs overlap, the later one counts.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import _venv  # noqa: F401, first: finds the packages
import amd_mm  # noqa: F401, first: its import-time fixes serve what follows
from amd_mm.errors import ConfigError
from amd_mm.visualization.plots import AXES, check_picture, draw_training_curves
from common import new_parser, run_tool


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = new_parser(__file__, __doc__)
    parser.add_argument(
        'runs', nargs='+', metavar='[NAME=]WORK_DIR', help='runs, with names for the legend'
    )
    parser.add_argument(
        '--values',
        nargs='+',
        metavar='NAME',
        help='values to draw, as in the log (default: losses, accuracies, learning rate, speed)',
    )
    parser.add_argument('--axis', choices=AXES, default=AXES[0])
    parser.add_argument(
        '--smooth',
        type=float,
        default=0.05,
        metavar='SHARE',
        help='part of the run over which a moving average is taken, 0 for none (0.05)',
    )
    parser.add_argument('--title', default='', help='above the picture')
    return parser


def named_runs(arguments: Sequence[str]) -> dict[str, str]:
    """Names and folders of runs, from ``NAME=WORK_DIR`` or ``WORK_DIR``."""
    runs: dict[str, str] = {}
    for argument in arguments:
        name, equals, folder = argument.partition('=')
        if not (equals and name) or Path(argument).exists():
            name, folder = Path(argument).resolve().name, argument
        if name in runs:
            raise ConfigError(
                f'{runs[name]} and {folder} are both named {name}: give names, NAME=WORK_DIR'
            )
        runs[name] = folder
    return runs


def run(args: argparse.Namespace) -> None:
    """Read the logs and draw."""
    check_picture(args.out)
    runs = named_runs(args.runs)
    draw_training_curves(runs, args.out, args.values, args.axis, args.smooth, args.title)
    print(f'wrote {args.out}')


def main(argv: list[str] | None = None) -> int:
    """Run the tool; the exit code."""
    return run_tool(make_parser(), run, argv)


if __name__ == '__main__':
    sys.exit(main())
