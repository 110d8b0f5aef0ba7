r"""How alike the blocks of a student and of its teacher are (linear CKA).

    python tools/visualize/cka.py INPUT ... --student CHECKPOINT [CONFIG] \
        --out cka.png
    python tools/visualize/cka.py INPUT ... --student CHECKPOINT [CONFIG] \
        --teacher CHECKPOINT [CONFIG] --out cka.png

The student's config, given or found beside its checkpoint, names the teacher
and the pairs of blocks that training aligns; these are framed in the picture.
With --teacher any two models can be compared whose grids of tokens are the
same; a checkpoint alone is then taken for the teacher of the student's config,
if there is one, and else read off its weights.

Both see the inputs whole. A row is a patch of an input, the features are those
after each block; linear CKA is exact on these rows, no estimate from
mini-batches. With few rows it is too high: there should be several times as
many as the features are wide. A table is written beside the picture, cka.csv.

INPUT is a video, an image, or a folder of them, of which the first few are
taken.

Exit code: 0, or 2 if something is wrong with the call or the files.
"""

import argparse
import sys
from pathlib import Path

import amd_mm  # noqa: F401, first: its import-time fixes serve what follows
from amd_mm.evaluation.clip_encoder import choose_device
from amd_mm.visualization.command_line import run_tool
from amd_mm.visualization.errors import VisualizationError
from amd_mm.visualization.figures import check_picture
from amd_mm.visualization.inputs import find_inputs, read_inputs
from amd_mm.visualization.model_files import Encoder, layer_pairs_of, load_teacher
from amd_mm.visualization.similarity import (
    block_features,
    check_comparable,
    cka_matrix,
    draw_similarity,
    sample_tokens,
    write_similarity,
)
from sources import ERRORS, Source, add_reading_arguments, find_source

Pairs = list[tuple[int, int]]


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog='cka.py', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('inputs', nargs='+', metavar='INPUT', help='videos, images, folders')
    for name, required in (('student', True), ('teacher', False)):
        parser.add_argument(
            f'--{name}',
            nargs='+',
            required=required,
            metavar='CHECKPOINT [CONFIG]',
            help='a model; see above',
        )
    parser.add_argument('--out', required=True, metavar='FILE', help='.png, .pdf or .svg')
    parser.add_argument(
        '--names',
        nargs=2,
        default=('student', 'teacher'),
        metavar=('STUDENT', 'TEACHER'),
        help='for the axes',
    )
    parser.add_argument('--rows', type=int, default=4096, help='patches to compare (4096)')
    parser.add_argument('--seed', type=int, default=0, help='of the choice of patches (0)')
    add_reading_arguments(parser, 32)
    return parser


def find_student(args: argparse.Namespace) -> Source:
    """The student's checkpoint and config."""
    for name in ('student', 'teacher'):
        if len(getattr(args, name) or ()) > 2:
            raise VisualizationError(f'--{name} takes CHECKPOINT [CONFIG]')
    return find_source(*args.student)


def load_pair(student: Source, teacher: list[str] | None) -> tuple[Encoder, Encoder, Pairs]:
    """Student, teacher, and the blocks that training aligns.

    Args:
        student (Source): From :func:`find_student`.
        teacher (List[str], optional): CHECKPOINT [CONFIG]; the teacher of the
            student's config if None.
    """
    cfg, pairs = student.cfg, layer_pairs_of(student.cfg)
    if teacher is None:
        if cfg is None:
            raise VisualizationError(
                f'there is no config beside {student.checkpoint} that names '
                'a teacher: give it (--student CHECKPOINT CONFIG), or '
                '--teacher CHECKPOINT'
            )
        return student.encoder(), load_teacher(cfg), pairs
    source = find_source(*teacher)
    if source.cfg is None and cfg is not None and cfg.model.get('teacher'):
        return student.encoder(), load_teacher(cfg, source.checkpoint), pairs
    other = source.encoder()
    # Another teacher than the config's may have fewer blocks.
    deep = all(block <= other.backbone.depth for _, block in pairs)
    return student.encoder(), other, pairs if deep else []


def run(args: argparse.Namespace) -> None:
    """Compare and draw."""
    check_picture(args.out)
    if args.rows < 2:
        raise VisualizationError('--rows must be at least 2')
    files = find_inputs(args.inputs, args.limit)
    source = find_student(args)
    student, teacher, pairs = load_pair(source, args.teacher)
    check_comparable(student, teacher)
    tokens = 1
    for count in student.backbone.token_grid:
        tokens *= count
    chosen = sample_tokens(len(files), tokens, args.rows, args.seed)
    device, features = choose_device(args.device), []
    for encoder in (student, teacher):
        encoder.backbone.to(device)
        inputs = read_inputs(
            files, encoder.frames, encoder.size, source.stride(args.stride), args.backend
        )
        features.append(block_features(encoder, inputs, chosen))
    values = cka_matrix(*features)
    rows, width = chosen.numel(), teacher.backbone.embed_dims
    print(
        f'{rows} patches of {len(files)} inputs, features up to {width} wide; '
        'exact linear CKA on these rows'
    )
    if rows < 4 * width:
        print(
            'note: with fewer than four times as many rows as columns CKA is '
            'too high; give more inputs, or --rows'
        )
    for row, column in pairs:
        print(
            f'block {row} of the student, {column} of the teacher (aligned '
            f'in training): {values[row - 1, column - 1]:.3f}'
        )
    table = Path(args.out).with_suffix('.csv')
    draw_similarity(values, args.out, pairs, tuple(args.names))
    print(f'wrote {args.out} and {write_similarity(values, table)}')


def main(argv: list[str] | None = None) -> int:
    """Run the tool; the exit code."""
    return run_tool(make_parser(), run, argv, ERRORS)


if __name__ == '__main__':
    sys.exit(main())
