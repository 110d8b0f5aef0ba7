r"""Draw what the training loader of a config feeds the model.

    python tools/visualize/browse_dataset.py CONFIG --out contact.png

Each row is a clip, time goes to the right. For a pre-training config with masks, the patches that
student and teacher see follow. Colours are those after the augmentation, without the normalisation.
"""

import argparse
import sys

import _venv  # noqa: F401, first: finds the packages
import amd_mm  # noqa: F401, first: its import-time fixes serve what follows
from amd_mm.engine import launch
from amd_mm.visualization.before_training import training_samples, training_views
from amd_mm.visualization.plots import check_picture, save_figure
from amd_mm.visualization.reconstruction import views_figure
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
    parser.add_argument('--samples', type=int, default=8, help='clips (8)')
    parser.add_argument('--frames', type=int, default=8, help='of each clip, evenly spaced (8)')
    parser.add_argument('--seed', type=int, default=0, help='of order and augmentation (0)')
    return parser


def run(args: argparse.Namespace) -> None:
    """Load and draw."""
    check_picture(args.out)
    cfg = read_training_config(args)
    check_training_data(cfg)
    with launch.building(cfg):
        clips, names = training_samples(cfg, args.samples, args.seed)
        views = training_views(cfg, clips)
    figure = views_figure(views, names, max_frames=args.frames, title='Training clips')
    print(f'wrote {save_figure(figure, args.out)}: {len(clips)} clips of {tuple(clips.shape[1:])}')


def main(argv: list[str] | None = None) -> int:
    """Run the tool; the exit code."""
    return run_tool(make_parser(), run, argv)


if __name__ == '__main__':
    sys.exit(main())
