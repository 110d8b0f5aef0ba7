r"""Draw clips, the patches that student and teacher see, and the student's reconstruction.

    python tools/visualize/reconstruction.py CHECKPOINT INPUT ... --out a.png
    python tools/visualize/reconstruction.py CONFIG CHECKPOINT INPUT ... \
        --out strip.png moving.gif moving.mp4

CHECKPOINT comes from pre-training and has a decoder: of this package (VideoMAE, MAE, AMD, DMAE) or
of the public programs. CONFIG is the config of that pre-training; the one that training left beside
a checkpoint is found. The teacher's weights are not needed.

INPUT is a video, an image, or a folder (its first few files). The middle of a video is
drawn.
"""

import argparse
import os.path as osp
import sys
from pathlib import Path

import _venv  # noqa: F401, first: finds the packages
import amd_mm  # noqa: F401, first: its import-time fixes serve what follows
from amd_mm.apis import encoder_of, find_source, load_model
from amd_mm.errors import ConfigError
from amd_mm.visualization.plots import check_picture
from amd_mm.visualization.reconstruction import (
    TITLE,
    borrowed_note,
    draw_reconstruction,
    reconstruct,
)
from amd_mm.visualization.video import MOVING
from common import new_parser, run_tool
from sources import add_input_arguments, clips_for, find_inputs


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = new_parser(__file__, __doc__, outputs='+')
    parser.add_argument('sources', nargs='+', metavar='[CONFIG] CHECKPOINT INPUT', help='see above')
    parser.add_argument('--seed', type=int, default=0, help='of the masks (0)')
    for name in ('student', 'teacher'):
        parser.add_argument(
            f'--{name}-ratio',
            type=float,
            help=f"ratio of patches masked for the {name} (default: the config's)",
        )
    parser.add_argument('--frames', type=int, default=8, help='in a picture that does not move (8)')
    parser.add_argument('--fps', type=float, default=6.0, help='of .gif and .mp4 (6)')
    parser.add_argument('--title', default=TITLE, help='above the picture')
    add_input_arguments(parser, 4)
    return parser


def run(args: argparse.Namespace) -> None:
    """Reconstruct and draw."""
    for path in args.out:
        if Path(path).suffix.lower() not in MOVING:
            check_picture(path)
    has_config = args.sources[0].endswith('.py')
    config, rest = args.sources[:has_config], args.sources[has_config:]
    if len(rest) < 2:
        raise ConfigError('give [CONFIG] CHECKPOINT INPUT ..., at least one input')
    checkpoint, *inputs = rest
    files = find_inputs(inputs, args.limit)
    cfg, checkpoint = find_source((config[0], checkpoint) if config else checkpoint)
    if cfg is None:
        raise ConfigError(
            f'there is no config beside {checkpoint}: give that of its pre-training '
            '(CONFIG CHECKPOINT INPUT), which defines the masks and the decoder'
        )
    if not cfg.model.get('decoder') or cfg.model.get('rec_weight') == 0:
        raise ConfigError(
            f'{cfg.filename}: a {cfg.model.type} without decoder cannot reconstruct; give config '
            'and checkpoint of pre-training (VideoMAE, MAE, AMD, DMAE)'
        )
    for name in ('student_ratio', 'teacher_ratio'):
        if getattr(args, name) is not None:
            cfg.model.mask_generator[name] = getattr(args, name)
    model = load_model((cfg, checkpoint), args.device)
    clips = clips_for(encoder_of(model), files, cfg, args)
    result = reconstruct(model, clips, args.seed)
    counts, note = model.token_counts(), borrowed_note(model)
    print(
        f'{cfg.filename}: {len(files)} inputs of {counts["total"]} tokens; the student sees '
        f'{counts["visible"]}, the teacher {counts["visible"] + counts["teacher_only"]}; masks of '
        f'seed {args.seed}'
    )
    if note:
        print(f'note: {note}')
    names = [osp.basename(path) for path in files]
    for path in args.out:
        draw_reconstruction(
            result,
            model.backbone.patch_shape,
            path,
            names,
            note,
            max_frames=args.frames,
            title=args.title,
            fps=args.fps,
        )
        print(f'wrote {path}')


def main(argv: list[str] | None = None) -> int:
    """Run the tool; the exit code."""
    return run_tool(make_parser(), run, argv)


if __name__ == '__main__':
    sys.exit(main())
