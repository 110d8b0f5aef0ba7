r"""Which classes does one model know better than another?

    python tools/compare_predictions.py amd.pkl videomae.pkl \\
        --names AMD VideoMAE --labels label_map.txt

Both files are from `tools/test.py CONFIG CHECKPOINT --dump FILE` on the same
list. Prints top-1 of both and the classes with the largest gains and losses
of the first; writes all classes as class_differences.csv and the largest
differences as a bar chart, class_differences.png. A difference is accuracy of
the first minus accuracy of the second, in percentage points.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from amd_mm.evaluation.comparison import (
    ClassDifference,
    Comparison,
    compare_predictions,
    write_comparison,
)
from amd_mm.evaluation.label_map import LabelMapError, check_label_map, read_label_map
from amd_mm.evaluation.predictions import Predictions, PredictionsError, read_predictions


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('first', help='predictions of the one model (.pkl)')
    parser.add_argument('second', help='predictions of the other (.pkl)')
    parser.add_argument(
        '--names',
        nargs=2,
        metavar=('FIRST', 'SECOND'),
        help='of the models (default: the names of the files)',
    )
    parser.add_argument('--labels', help='class names: a text file with one a line, or .json')
    parser.add_argument(
        '--top',
        type=int,
        default=10,
        help='so many gains and so many losses are shown (default: 10)',
    )
    parser.add_argument(
        '--out',
        default='work_dirs/comparison',
        help='folder to write to (default: work_dirs/comparison)',
    )
    args = parser.parse_args(argv)
    if args.top < 1:
        parser.error(f'--top must be at least 1, got {args.top}')
    return args


def read(path: str) -> Predictions:
    """Read a file, and say so: a large one takes half a minute."""
    print(f'reading {path}', file=sys.stderr)
    return read_predictions(path)


def class_names(path: str | None, num_classes: int) -> list[str]:
    """From the label map, else numbers."""
    if path is None:
        return [f'class {label}' for label in range(num_classes)]
    names = read_label_map(path)
    check_label_map(names, num_classes, path)
    return names


def headline(result: Comparison, models: tuple[str, str]) -> str:
    """Both accuracies and their difference, in a line."""
    return (
        f'top-1 of {result.videos} videos: {models[0]} '
        f'{100 * result.first:.2f} %, {models[1]} '
        f'{100 * result.second:.2f} %, difference '
        f'{100 * (result.first - result.second):+.2f} points'
    )


def table(rows: Sequence[ClassDifference], names: Sequence[str], models: tuple[str, str]) -> str:
    """Classes as text."""
    cells = [('difference', *models, 'videos', 'class')]
    for row in rows:
        cells.append(
            (
                f'{100 * row.difference:+.2f}',
                f'{100 * row.first:.2f}',
                f'{100 * row.second:.2f}',
                str(row.videos),
                f'{names[row.label]}',
            )
        )
    widths = [max(map(len, column)) for column in zip(*cells)][:-1]
    return '\n'.join(
        '  '.join([*(cell.rjust(width) for cell, width in zip(line, widths)), line[-1]])
        for line in cells
    )


def draw(
    result: Comparison, names: Sequence[str], models: tuple[str, str], top: int, path: Path
) -> None:
    """The bar chart."""
    # Imported here: it takes seconds, and a wrong call should not.
    from amd_mm.visualization import draw_class_differences

    parts = [
        [(f'{names[one.label]} ({one.videos})', 100 * one.difference) for one in part]
        for part in result.largest(top)
    ]
    difference = 100 * (result.first - result.second)
    draw_class_differences(
        *parts,
        path,
        f'{models[0]} against {models[1]}: top-1 {100 * result.first:.1f} % '
        f'and {100 * result.second:.1f} %, {difference:+.1f} points',
    )


def main(argv: list[str] | None = None) -> int:
    """Compare, print and write."""
    args = parse_args(argv)
    models = tuple(args.names or (args.first, args.second))
    out = Path(args.out)
    try:
        result = compare_predictions(*map(read, (args.first, args.second)))
        names = class_names(args.labels, result.num_classes)
        csv_path = write_comparison(result, names, models, out / 'class_differences.csv')
        picture = out / 'class_differences.png'
        draw(result, names, models, args.top, picture)
    except (PredictionsError, LabelMapError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    gains, losses = result.largest(args.top)
    better = sum(one.difference > 0 for one in result.classes)
    worse = sum(one.difference < 0 for one in result.classes)
    print(headline(result, models))
    print(
        f'right only with {models[0]}: {result.only_first} videos, only '
        f'with {models[1]}: {result.only_second}'
    )
    print(
        f'of {len(result.classes)} classes {better} gain, {worse} lose, '
        f'{len(result.classes) - better - worse} are equal'
    )
    for what, rows in (('gains', gains), ('losses', losses)):
        if rows:
            print(f'\nlargest {what} of {models[0]}')
            print(table(rows, names, models))
    print(f'\ntable:   {csv_path}\npicture: {picture}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
