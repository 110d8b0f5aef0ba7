r"""Draw how similar the blocks of a student and of its teacher are (linear CKA).

    python tools/visualize/cka.py INPUT ... --student CHECKPOINT [CONFIG] \
        [--teacher CHECKPOINT [CONFIG]] --out cka.png

The student's config, given or found beside its checkpoint, names the teacher and the blocks that
training aligns; these are framed. --teacher compares with any other model that has the same grid of
tokens; a checkpoint without config is loaded as the teacher of the student's config, if it has one.

Both models see all patches. Features are taken after each block. CKA is exact for the patches that
are compared (--rows); it is too high if they are fewer than four times the width of the features.
The values are also written to cka.csv.

INPUT is a video, an image, or a folder, of which the first few are taken.
"""

import argparse
import math
import sys
from pathlib import Path

import amd_mm  # noqa: F401, first: its import-time fixes serve what follows
from amd_mm.apis import Encoder, build_encoder, choose_device, find_source
from amd_mm.checkpoints import read_checkpoint, to_amd_mm
from amd_mm.errors import ConfigError
from amd_mm.visualization.inputs import find_inputs
from amd_mm.visualization.similarity import (
    block_features,
    cka_matrix,
    draw_similarity,
    sample_tokens,
    write_similarity,
)
from amd_mm.visualization.style import check_picture
from common import new_parser, run_tool
from mmengine.config import Config
from sources import CLOSING_NORMS, add_input_arguments, load, read_clips


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = new_parser(__file__, __doc__)
    parser.add_argument('inputs', nargs='+', metavar='INPUT', help='videos, images, folders')
    source = dict(nargs='+', metavar='CHECKPOINT [CONFIG]')
    parser.add_argument('--student', required=True, help='a model', **source)
    parser.add_argument('--teacher', help='another model', **source)
    parser.add_argument('--rows', type=int, default=4096, help='patches to compare (4096)')
    parser.add_argument('--seed', type=int, default=0, help='of the choice of patches (0)')
    add_input_arguments(parser, 32)
    return parser


def load_teacher(student: Config, source: list[str] | None, device: str) -> Encoder:
    """The teacher that a student's config describes, or another model.

    Args:
        student: the student's config.
        source: CHECKPOINT [CONFIG] of ``--teacher``, if given.
        device: where to compute.
    """
    teacher = student.model.get('teacher') or {}
    if source and (len(source) > 1 or not teacher or find_source(source[0])[0] is not None):
        return load(source, device)
    if not teacher.get('backbone'):
        raise ConfigError(f'{student.filename} has no teacher: give --teacher CHECKPOINT')
    checkpoint = source[0] if source else teacher.get('checkpoint')
    if not checkpoint:
        raise ConfigError(
            f'{student.filename} names no checkpoint of the teacher: give --teacher CHECKPOINT'
        )
    state = to_amd_mm(read_checkpoint(checkpoint)).state
    return build_encoder(teacher['backbone'], state, checkpoint, student, CLOSING_NORMS).to(device)


def run(args: argparse.Namespace) -> None:
    """Compare and draw."""
    check_picture(args.out)
    if args.rows < 2:
        raise ConfigError('--rows must be at least 2')
    files = find_inputs(args.inputs, args.limit)
    device = choose_device(args.device)
    student = load(args.student, device)
    teacher = load_teacher(student.cfg, args.teacher, device)
    mine, theirs = tuple(student.backbone.token_grid), tuple(teacher.backbone.token_grid)
    if mine != theirs:
        raise ConfigError(
            'CKA compares token by token, and the grids (time, rows, columns) differ: '
            f"the student's is {mine}, the teacher's {theirs}"
        )
    chosen = sample_tokens(len(files), math.prod(mine), args.rows, args.seed)
    features = [
        block_features(one.backbone, read_clips(one, files, student.cfg, args), chosen)
        for one in (student, teacher)
    ]
    values = cka_matrix(*features)
    rows, width = chosen.numel(), max(one.shape[1] for side in features for one in side)
    print(f'{rows} patches of {len(files)} inputs, features up to {width} wide')
    if rows < 4 * width:
        print(
            'note: CKA is too high with fewer than four times as many patches as the features are '
            'wide; give more inputs or --rows'
        )
    # Another teacher than the config's may have fewer blocks.
    pairs = [(one, other) for one, other in student.cfg.model.get('layer_pairs') or ()]
    if any(other > teacher.backbone.depth for _, other in pairs):
        pairs = []
    for row, column in pairs:
        print(
            f'block {row} of the student, {column} of the teacher (aligned in training): '
            f'{values[row - 1, column - 1]:.3f}'
        )
    draw_similarity(values, args.out, pairs)
    print(f'wrote {args.out} and {write_similarity(values, Path(args.out).with_suffix(".csv"))}')


def main(argv: list[str] | None = None) -> int:
    """Run the tool; the exit code."""
    return run_tool(make_parser(), run, argv)


if __name__ == '__main__':
    sys.exit(main())
