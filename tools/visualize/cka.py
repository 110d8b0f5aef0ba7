r"""Draw how similar the blocks of students and of their teacher are (linear CKA), side by side.

    python tools/visualize/cka.py INPUT ... --student NAME CHECKPOINT [CONFIG] \
        [--student ...] [--teacher CHECKPOINT [CONFIG]] --out cka.png

The first student's config, given or found beside its checkpoint, names the teacher. --teacher
compares with any other model that has the same grid of tokens; a checkpoint without config is
loaded as the teacher of that config, if it has one. The blocks that training aligned are framed.
Give `--student untrained random CONFIG` to see what training changed.

All models see all patches. Features are taken after each block. CKA is exact for the patches that
are compared (--rows); it is too high if they are fewer than four times the width of the features.
The values are also written to cka.csv.

INPUT is a video, an image, or a folder (its first few files).
"""

import argparse
import math
import sys
from pathlib import Path

import _venv  # noqa: F401, first: finds the packages
import amd_mm  # noqa: F401, first: its import-time fixes serve what follows
from amd_mm.apis import Encoder, build_encoder, choose_device, find_source
from amd_mm.checkpoints import read_checkpoint, to_amd_mm
from amd_mm.errors import ConfigError
from amd_mm.visualization.features import (
    block_features,
    cka_matrix,
    draw_similarity,
    sample_tokens,
    write_similarity,
)
from amd_mm.visualization.plots import check_picture
from common import new_parser, run_tool
from mmengine.config import Config
from sources import CLOSING_NORMS, add_input_arguments, clips_for, find_inputs, load, named_models
from torch import Tensor


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = new_parser(__file__, __doc__)
    add = parser.add_argument
    add('inputs', nargs='+', metavar='INPUT', help='videos, images, folders')
    add(
        '--student',
        nargs='+',
        action='append',
        required=True,
        metavar='NAME CHECKPOINT [CONFIG]',
        help='a model; may be repeated',
    )
    add('--teacher', nargs='+', metavar='CHECKPOINT [CONFIG]', help='the model to compare with')
    add('--rows', type=int, default=4096, help='patches to compare (4096)')
    add('--seed', type=int, default=0, help='of the choice of patches (0)')
    add(
        '--standardize',
        action='store_true',
        help='divide each channel by its deviation; without it, those that vary most decide',
    )
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
        number = 'several teachers' if teacher else 'no teacher'
        raise ConfigError(f'{student.filename} has {number}: give --teacher CHECKPOINT CONFIG')
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
    sources = named_models(args.student, '--student')
    files = find_inputs(args.inputs, args.limit)
    device = choose_device(args.device)
    students = {name: load(source, device) for name, source in sources.items()}
    first = next(iter(students.values()))
    teacher = load_teacher(first.cfg, args.teacher, device)
    grid = tuple(teacher.backbone.token_grid)
    for name, student in students.items():
        if tuple(student.backbone.token_grid) != grid:
            raise ConfigError(
                'CKA compares token by token, and the grids (time, rows, columns) differ: '
                f"{name}'s is {tuple(student.backbone.token_grid)}, the teacher's {grid}"
            )
    chosen = sample_tokens(len(files), math.prod(grid), args.rows, args.seed)

    def features(encoder: Encoder) -> list[Tensor]:
        inputs = clips_for(encoder, files, first.cfg, args)
        blocks = block_features(encoder.backbone, inputs, chosen)
        # CKA subtracts the mean itself.
        return [one / one.std(0).clamp_min(1e-6) for one in blocks] if args.standardize else blocks

    theirs = features(teacher)
    width = max(one.backbone.embed_dims for one in (teacher, *students.values()))
    print(f'{chosen.numel()} patches of {len(files)} inputs, features up to {width} wide')
    if chosen.numel() < 4 * width:
        print(
            'note: CKA is too high with fewer than four times as many patches as the features are '
            'wide; give more inputs or --rows'
        )
    values, pairs = {}, {}
    for name, student in students.items():
        values[name] = cka_matrix(features(student), theirs)
        pairs[name] = aligned_pairs(student.cfg, sources[name], teacher)
        for row, column in pairs[name]:
            print(
                f'{name}: block {row} of the student, {column} of the teacher (aligned in '
                f'training): {values[name][row - 1, column - 1]:.3f}'
            )
    draw_similarity(values, args.out, pairs)
    print(f'wrote {args.out} and {write_similarity(values, Path(args.out).with_suffix(".csv"))}')


def aligned_pairs(cfg: Config, source: list[str], teacher: Encoder) -> list[tuple[int, int]]:
    """The blocks that training aligned; none if it was with a deeper teacher, or not trained."""
    found = cfg.model.get('layer_pairs') or ()
    if isinstance(found, dict):  # of several teachers
        return []
    pairs = [(one, other) for one, other in found]
    deeper = any(other > teacher.backbone.depth for _, other in pairs)
    return [] if deeper or source[0] == 'random' else pairs


def main(argv: list[str] | None = None) -> int:
    """Run the tool; the exit code."""
    return run_tool(make_parser(), run, argv)


if __name__ == '__main__':
    sys.exit(main())
