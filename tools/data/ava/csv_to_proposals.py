r"""Convert the boxes of a person detector from csv to MMAction2's pickle.

    python tools/data/ava/csv_to_proposals.py boxes.csv proposals.pkl
    python tools/data/ava/csv_to_proposals.py pixels.csv proposals.pkl --size 1280x720

The csv has a header with video, timestamp, x1, y1, x2, y2 and score (other columns are ignored), or
these columns without a header, or an action before the score, as in FAIR's files. Corners are
relative to the frame, or pixels with --size or with columns width and height. Timestamps are whole
seconds.

Exit code: 0, or 2 if a file is wrong (nothing is written).
"""

import argparse
import sys

import _venv  # noqa: F401, first: finds the packages
from amd_mm.datasets.ava_files import write_proposals
from amd_mm.datasets.detector_boxes import read_box_csv
from amd_mm.errors import CheckpointError, VideoError


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('csv')
    add('out', help='the pickle to write')
    add('--size', type=frame_size, metavar='WIDTHxHEIGHT', help='of all frames: corners are pixels')
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
        boxes = read_box_csv(args.csv, args.size)
        write_proposals(args.out, boxes.proposals)
    except (VideoError, CheckpointError, OSError, UnicodeDecodeError) as error:
        print(f'csv_to_proposals.py: {error}', file=sys.stderr)
        return 2
    count = sum(map(len, boxes.proposals.values()))
    print(f'{count} boxes of {len(boxes.proposals)} frames written to {args.out}')
    if boxes.repeated:
        print(f'left out: {boxes.repeated} repeated boxes')
    return 0


if __name__ == '__main__':
    sys.exit(main())
