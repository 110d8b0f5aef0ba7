r"""What student and teacher see of clips, and what the student makes of it.

    python tools/visualize/reconstruction.py CHECKPOINT INPUT ... --out a.png
    python tools/visualize/reconstruction.py CONFIG CHECKPOINT INPUT ... \
        --out strip.png moving.gif moving.mp4

CHECKPOINT is one of pre-training with its decoder: of this package (VideoMAE,
MAE, AMD, DMAE) or of the public programs. CONFIG is the config of that
pre-training; the one that training left beside a checkpoint is found by
itself. A teacher's weights are not needed.

INPUT is a video, an image, or a folder of them, of which the first few are
taken. Of a video the middle is looked at.

Exit code: 0, or 2 if something is wrong with the call or the files.
"""

import argparse
import os.path as osp
import sys
from pathlib import Path

import amd_mm  # noqa: F401, first: its import-time fixes serve what follows
from amd_mm.evaluation.clip_encoder import choose_device, is_config
from amd_mm.visualization.command_line import run_tool
from amd_mm.visualization.errors import VisualizationError
from amd_mm.visualization.figures import PICTURES
from amd_mm.visualization.inputs import find_inputs, read_inputs
from amd_mm.visualization.model_files import frames_of, load_autoencoder, normalise, size_of
from amd_mm.visualization.reconstruction_videos import write_reconstruction
from amd_mm.visualization.reconstructions import (
    BORROWED,
    borrows_statistics,
    draw_reconstruction,
    reconstruct,
)
from sources import ERRORS, add_reading_arguments, find_source

_MOVING = ('.gif', '.mp4')


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog='reconstruction.py',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        'sources',
        nargs='+',
        metavar='[CONFIG] CHECKPOINT INPUT',
        help='see above; several inputs may be given',
    )
    parser.add_argument(
        '--out',
        nargs='+',
        required=True,
        metavar='FILE',
        help='.png (or .pdf, .svg): a strip; .gif, .mp4: moving',
    )
    parser.add_argument('--seed', type=int, default=0, help='of the masks (0)')
    parser.add_argument(
        '--student-ratio', type=float, help="share masked for the student (default: the config's)"
    )
    parser.add_argument(
        '--teacher-ratio', type=float, help="share masked for the teacher (default: the config's)"
    )
    parser.add_argument('--frames', type=int, default=8, help='to show in a strip (8)')
    parser.add_argument('--fps', type=float, default=6.0, help='of .gif and .mp4 (6)')
    parser.add_argument('--title', help='over a strip')
    add_reading_arguments(parser, 4)
    return parser


def check(args: argparse.Namespace) -> None:
    """Raise a VisualizationError for what can be told at once."""
    config = args.sources[0] if is_config(args.sources[0]) else None
    rest = args.sources[config is not None :]
    if len(rest) < 2:
        raise VisualizationError('give [CONFIG] CHECKPOINT INPUT, an input at least')
    args.config, args.checkpoint, args.inputs = config, rest[0], rest[1:]
    for path in args.out:
        if Path(path).suffix.lower() not in PICTURES + _MOVING:
            raise VisualizationError(
                f'--out {path} has to end in one of {", ".join(PICTURES + _MOVING)}'
            )
    if min(args.limit, args.frames, args.fps) < 1:
        raise VisualizationError('--limit, --frames and --fps must be at least 1')


def run(args: argparse.Namespace) -> None:
    """Reconstruct and draw."""
    check(args)
    files = find_inputs(args.inputs, args.limit)
    source = find_source(args.checkpoint, args.config)
    if source.cfg is None:
        raise VisualizationError(
            f'there is no config beside {args.checkpoint}: give the one of '
            'its pre-training (CONFIG CHECKPOINT INPUT), which says how much '
            'is masked and how the decoder is built'
        )
    model = load_autoencoder(args.checkpoint, source.cfg, args.student_ratio, args.teacher_ratio)
    backbone, stats = model.backbone, model.pixel_stats()
    inputs = read_inputs(
        files, frames_of(backbone), size_of(backbone), source.stride(args.stride), args.backend
    )
    device = choose_device(args.device)
    result = reconstruct(model.to(device), normalise(inputs, *stats).to(device), args.seed)
    borrows = borrows_statistics(model)
    counts = model.token_counts()
    teacher = counts['visible'] + counts['teacher_only']
    print(
        f'config: {source.cfg.filename}\n'
        f'{len(files)} inputs of {counts["total"]} tokens: the student sees '
        f'{counts["visible"]}'
        + (f', the teacher {teacher}' if counts['teacher_only'] else '')
        + f'; masks of seed {args.seed}'
    )
    if borrows:
        print(f'note: {BORROWED}')
    names = [osp.basename(path) for path in files]
    for path in args.out:
        if Path(path).suffix.lower() in _MOVING:
            write_reconstruction(
                result,
                backbone.patch_shape,
                path,
                names=names,
                borrows_statistics=borrows,
                fps=args.fps,
            )
        else:
            draw_reconstruction(
                result,
                backbone.patch_shape,
                path,
                names=names,
                borrows_statistics=borrows,
                max_frames=args.frames,
                title=args.title or 'What is seen and what is made of it',
            )
        print(f'wrote {path}')


def main(argv: list[str] | None = None) -> int:
    """Run the tool; the exit code."""
    return run_tool(make_parser(), run, argv, ERRORS)


if __name__ == '__main__':
    sys.exit(main())
