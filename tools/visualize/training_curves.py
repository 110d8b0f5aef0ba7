r"""Draw what training runs logged: losses, accuracy, learning rate, speed.

    python tools/visualize/training_curves.py WORK_DIR ... --out curves.png
    python tools/visualize/training_curves.py AMD=work_dirs/a \
        VideoMAE=work_dirs/b --smooth 0.9 --out curves.png

Reads the logs of MMEngine's LocalVisBackend, which every config of this
package has. A run that was resumed is one curve: where its logs overlap the
later one counts.

Exit code: 0, or 2 if the call is wrong or a run has no log.
"""

import argparse
import sys

import amd_mm  # noqa: F401, first: its import-time fixes serve what follows
from amd_mm.visualization.command_line import run_tool
from amd_mm.visualization.figures import check_picture
from amd_mm.visualization.training_curves import AXES, draw_training_curves, named_runs


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog='training_curves.py',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        'runs',
        nargs='+',
        metavar='[NAME=]WORK_DIR',
        help='work folders of runs, with the names for the legend',
    )
    parser.add_argument('--out', required=True, metavar='FILE', help='.png, .pdf or .svg')
    parser.add_argument(
        '--values',
        nargs='+',
        metavar='NAME',
        help='what to draw, as it is called in the log (default: losses, '
        'accuracies, learning rate, speed)',
    )
    parser.add_argument('--axis', choices=AXES, default=AXES[0], help='to the right')
    parser.add_argument(
        '--smooth',
        type=float,
        default=0.0,
        metavar='WEIGHT',
        help='of the past in a moving average, from 0 (none, the default) to below 1',
    )
    parser.add_argument('--title', default='', help='over the picture')
    return parser


def run(args: argparse.Namespace) -> None:
    """Read and draw."""
    check_picture(args.out)
    path = draw_training_curves(
        named_runs(args.runs),
        args.out,
        values=args.values,
        axis=args.axis,
        smoothing=args.smooth,
        title=args.title,
    )
    print(f'wrote {path}')


def main(argv: list[str] | None = None) -> int:
    """Run the tool; the exit code."""
    return run_tool(make_parser(), run, argv)


if __name__ == '__main__':
    sys.exit(main())
