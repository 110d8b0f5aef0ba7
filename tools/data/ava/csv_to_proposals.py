r"""Convert the boxes of a person detector from csv to MMAction2's pickle.

    python tools/data/ava/csv_to_proposals.py boxes.csv proposals.pkl
    python tools/data/ava/csv_to_proposals.py pixels.csv proposals.pkl --size 1280x720

The csv has a header (video, timestamp, x1, y1, x2, y2, score; others are ignored), or these columns
without one, or an action before the score as FAIR's files. Corners are relative to the frame, or
pixels with --size or with columns width and height. Timestamps are whole seconds.

Exit code: 0, or 2 if a file is wrong (nothing is written).
"""

import argparse
import sys

from amd_mm.datasets.ava_files import read_box_csv, write_proposals
from amd_mm.errors import VideoError


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('csv')
    add('out', help='the pickle to write')
    add('--size', type=frame_size, metavar='WIDTHxHEIGHT', help='of all frames: corners are pixels')
    add(
        '--columns',
        metavar='NAMES',
        type=lambda text: [name.strip() for name in text.split(',')],
        help='columns of a csv without a header, e.g. video,timestamp,score,x1,y1,x2,y2; others '
        'are ignored',
    )
    return parser.parse_args(argv)


def frame_size(text: str) -> tuple[float, float]:
    """``'1280x720'`` -> ``(1280., 720.)``."""
    width, _, height = text.lower().partition('x')
    try:
        size = float(width), float(height)
    except ValueError:
        size = 0.0, 0.0
    if min(size) <= 0:
        raise argparse.ArgumentTypeError(f'{text!r} is not a size such as 1280x720')
    return size


def main(argv: list[str] | None = None) -> int:
    """Read, write and print a summary."""
    args = parse_args(argv)
    try:
        boxes = read_box_csv(args.csv, args.columns, args.size)
        write_proposals(args.out, boxes.proposals)
    except (VideoError, OSError, UnicodeDecodeError) as error:
        print(f'csv_to_proposals.py: {error}', file=sys.stderr)
        return 2
    scored = next(iter(boxes.proposals.values())).shape[1] == 5
    print(
        f'{boxes.num_boxes} boxes of {len(boxes.proposals)} frames'
        + ('' if scored else ', without confidences')
        + (f' ({boxes.repeated} repeated lines left out)' if boxes.repeated else '')
        + f' written to {args.out}'
    )
    return 0


if __name__ == '__main__':
    sys.exit(main())
