r"""Convert AIA's person boxes from json to MMAction2's pickle.

    python tools/data/ava/aia_to_proposals.py ava_val_det_person_bbox.json \
        --images ava_val_v2.2_min.json --out proposals.pkl

The published figures of VideoMAE and AMD on AVA use these boxes; the README of this folder says
where they are. --images describes the key frames that the boxes' pixels belong to.

Exit code: 0, or 2 if a file is wrong (nothing is written).
"""

import argparse
import sys

import _venv  # noqa: F401, first: finds the packages
from amd_mm.datasets.ava_files import write_proposals
from amd_mm.datasets.detector_boxes import read_aia_boxes
from amd_mm.errors import CheckpointError, VideoError


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('boxes', help='json list of boxes')
    parser.add_argument('--images', required=True, help='json with the key frames under "images"')
    parser.add_argument('--out', required=True, help='the pickle to write')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Read, write and print a summary."""
    args = parse_args(argv)
    try:
        boxes = read_aia_boxes(args.boxes, args.images)
        write_proposals(args.out, boxes.proposals)
    except (VideoError, CheckpointError, OSError) as error:
        print(f'aia_to_proposals.py: {error}', file=sys.stderr)
        return 2
    count = sum(map(len, boxes.proposals.values()))
    print(f'{count} boxes of {len(boxes.proposals)} frames written to {args.out}')
    if boxes.repeated:
        print(f'left out: {boxes.repeated} repeated boxes')
    if boxes.foreign:
        print(f'left out: {boxes.foreign} boxes of frames that are not in {args.images}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
