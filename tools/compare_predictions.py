r"""Compare two models class by class.

    python tools/compare_predictions.py amd.pkl videomae.pkl \
        --names AMD VideoMAE --labels label_map.txt

Both files are from `tools/test.py CONFIG CHECKPOINT --dump FILE` on the same list. Prints top-1
accuracy of both models and the classes with the largest gains and losses of the first; writes all
classes to class_differences.csv and the largest differences as a bar chart,
class_differences.png. A difference is the accuracy of the first minus that of the second, in
percentage points.

Exit code: 0, or 2 if something is wrong with the call or the files.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import _venv  # noqa: F401, first: finds the packages
import amd_mm  # noqa: F401, first: its import-time fixes serve what follows
from amd_mm.errors import CheckpointError, ConfigError
from amd_mm.evaluation.label_map import read_label_map
from amd_mm.evaluation.predictions import (
    ClassDifference,
    Comparison,
    compare_predictions,
    read_predictions,
    write_comparison,
)
from amd_mm.visualization import draw_class_differences


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('first', help='predictions of the one model (.pkl)')
    add('second', help='predictions of the other (.pkl)')
    add('--names', nargs=2, metavar=('FIRST', 'SECOND'), help='of the models (the files)')
    add('--labels', help='class names: a text file with one a line, or .json')
    add('--top', type=int, default=10, help='number of gains and of losses to show (10)')
    add('--out', default='work_dirs/comparison', help='folder to write to (work_dirs/comparison)')
    args = parser.parse_args(argv)
    if args.top < 1:
        parser.error(f'--top must be at least 1, got {args.top}')
    return args


def report(result: Comparison, names: Sequence[str], models: Sequence[str], top: int) -> str:
    """The comparison as text."""
    first, second = models
    gains, losses = result.largest(top)
    better = sum(one.difference > 0 for one in result.classes)
    worse = sum(one.difference < 0 for one in result.classes)
    lines = [
        headline(result, models),
        f'right only with {first}: {result.only_first} videos, only with {second}: '
        f'{result.only_second}',
        f'of {len(result.classes)} classes {better} gain, {worse} lose, '
        f'{len(result.classes) - better - worse} are equal',
    ]
    for kind, rows in (('gains', gains), ('losses', losses)):
        if rows:
            lines += ['', f'largest {kind} of {first}', table(rows, names, models)]
    return '\n'.join(lines)


def headline(result: Comparison, models: Sequence[str]) -> str:
    """Both accuracies and their difference, in a line."""
    first, second = (f'{100 * one:.2f} %' for one in (result.first, result.second))
    return (
        f'top-1 of {result.videos} videos: {models[0]} {first}, {models[1]} {second}, difference '
        f'{100 * (result.first - result.second):+.2f} points'
    )


def table(rows: Sequence[ClassDifference], names: Sequence[str], models: Sequence[str]) -> str:
    """Classes in aligned columns."""
    cells = [('difference', *models, 'videos', 'class')]
    for row in rows:
        shares = (f'{100 * one:.2f}' for one in (row.first, row.second))
        cells.append((f'{100 * row.difference:+.2f}', *shares, str(row.videos), names[row.label]))
    widths = [max(map(len, column)) for column in zip(*cells)][:-1]
    return '\n'.join(
        '  '.join([*(cell.rjust(width) for cell, width in zip(line, widths)), line[-1]])
        for line in cells
    )


def main(argv: list[str] | None = None) -> int:
    """Compare, print and write; report errors in a sentence."""
    args = parse_args(argv)
    models = tuple(args.names or (args.first, args.second))
    written, picture = (Path(args.out, f'class_differences.{end}') for end in ('csv', 'png'))
    try:
        result = compare_predictions(*map(read_predictions, (args.first, args.second)))
        names = [f'class {label}' for label in range(result.num_classes)]
        if args.labels is not None:
            names = read_label_map(args.labels, result.num_classes)
        write_comparison(result, names, models, written)
        bars = [
            [(f'{names[one.label]} ({one.videos})', 100 * one.difference) for one in part]
            for part in result.largest(args.top)
        ]
        draw_class_differences(*bars, picture, headline(result, models))
    except (CheckpointError, ConfigError, OSError) as error:
        print(f'compare_predictions.py: {error}', file=sys.stderr)
        return 2
    print(report(result, names, models, args.top))
    print(f'\ntable:   {written}\npicture: {picture}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
