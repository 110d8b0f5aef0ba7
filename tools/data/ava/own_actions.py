"""Prepare your own videos with boxes and actions of people for training a detector of actions.

    python tools/data/ava/own_actions.py boxes.csv videos/ data/mine
    python tools/train.py data/mine/config.py --cfg-options model.backbone.pretrained=CHECKPOINT

The csv has a header with video, time (whole seconds from the beginning), x1, y1, x2, y2, class, and
perhaps person. A box with several actions has a line for each. Corners are shares of the frame, or
pixels if one of them is larger than 1. Videos may have any length.

Writes into the output folder: train.csv, val.csv, actions.pbtxt, proposals.pkl and config.py, which
derives from a config of configs/amd/detection. Without --people, testing takes the annotated boxes:
its mAP then tells how well actions are recognised, not how well people are found.

Exit code: 0, or 2 if a file is wrong (nothing is written).
"""

import argparse
import csv
import os.path as osp
import random
import sys
from pathlib import Path
from typing import NamedTuple

import _venv  # noqa: F401, first: finds the packages
import numpy as np
from amd_mm.datasets import find_videos, open_video
from amd_mm.datasets.ava_files import (
    OVERSHOOT,
    check_proposals,
    frame_key,
    parse_number,
    parse_whole,
    write_proposals,
)
from amd_mm.datasets.detector_boxes import read_box_csv
from amd_mm.datasets.files import read_lines
from amd_mm.errors import VideoError

COLUMNS = ('video', 'time', 'x1', 'y1', 'x2', 'y2', 'class')
BASE = 'amd_mm::amd/detection/amd_vit-small-p16_8xb16-16x4x1-30e_ava22.py'
CONFIG = """# Written by tools/data/ava/own_actions.py: {actions} actions and the background.
_base_ = {base!r}
_num_classes = {num_classes}
_folder = {folder!r}
_data = dict(
    exclude_file=None,
    label_file=f'{{_folder}}/actions.pbtxt',
    num_classes=_num_classes,
)
_videos = dict(
    data_prefix=dict(video={videos!r}),
    timestamp_start=0,
    timestamp_end={end},
)
_val = dict(ann_file=f'{{_folder}}/val.csv', **_data)
_val_dataset = dict(proposal_file=f'{{_folder}}/proposals.pkl', **_val, **_videos)
train_dataloader = dict(dataset=dict(ann_file=f'{{_folder}}/train.csv', **_data, **_videos))
val_dataloader = dict(dataset=_val_dataset)
test_dataloader = dict(dataset=_val_dataset)
val_evaluator = dict(**_val)
test_evaluator = dict(**_val)
model = dict(roi_head=dict(bbox_head=dict(num_classes=_num_classes, topk={topk})))
"""


class Box(NamedTuple):
    """One line of the csv; ``corners`` (4,) are x1, y1, x2, y2 as in the file."""

    video: str
    time: int
    corners: np.ndarray
    action: str
    person: str


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('csv')
    add('videos', help='folder of the videos; the csv names them with or without their ending')
    add('out', help='folder to write to')
    add('--classes', help='text file with a class a line (default: those of the csv, sorted)')
    add('--people', help="a detector's boxes for testing, a csv as csv_to_proposals.py reads it")
    add('--validation', type=float, default=0.2, help='share of the videos (default: 0.2)')
    add('--base', default=BASE, help='config to derive from (default: %(default)s)')
    return parser.parse_args(argv)


def read_boxes(path: str) -> list[Box]:
    """Read the csv; a VideoError names the line that is wrong."""
    with open(path, encoding='utf-8-sig', newline='') as file:
        reader = csv.DictReader(file, skipinitialspace=True)
        if missing := set(COLUMNS) - set(reader.fieldnames or ()):
            raise VideoError(f'{path}: its header lacks {", ".join(sorted(missing))}')
        boxes = []
        for row in reader:
            try:
                video, name = osp.splitext(row['video'].strip())[0], (row['class'] or '').strip()
                if not video or not name or ',' in video:
                    raise ValueError('it has no class, or no video whose name is without a comma')
                time = parse_whole('time', row['time'])
                corners = np.array([parse_number(one, row[one] or '') for one in COLUMNS[2:6]])
            except ValueError as error:
                raise VideoError(f'{path}, line {reader.line_num}: {error}') from None
            boxes.append(Box(video, time, corners, name, row.get('person') or ''))
    if not boxes:
        raise VideoError(f'{path} has no boxes')
    return boxes


def use_shares(boxes: list[Box], folder: str) -> list[Box]:
    """Turn pixels into shares of the frame, if the corners are pixels; and look for all videos."""
    found = {osp.splitext(name)[0]: name for name in find_videos(folder)}
    if lost := sorted({box.video for box in boxes} - set(found)):
        raise VideoError(f'{folder} lacks {len(lost)} videos of the csv, such as {lost[0]!r}')
    sizes = {box.video: np.ones(4) for box in boxes}
    if max(box.corners.max() for box in boxes) > 1 + OVERSHOOT:
        for video in sizes:
            with open_video(osp.join(folder, found[video])) as reader:
                height, width = reader.read([0])[0].shape[:2]
            sizes[video] = np.array([width, height] * 2)
    shares = []
    for box in boxes:
        try:
            corners = check_proposals((box.corners / sizes[box.video])[None])[0]
        except ValueError as error:
            raise VideoError(f'the box of {box.video} at {box.time} s: {error}') from None
        shares.append(box._replace(corners=corners))
    return shares


def split(videos: set[str], share: float) -> set[str]:
    """The videos that validate: the same in every run, at least one, and not all."""
    if len(videos) < 2 or not 0 < share < 1:
        raise VideoError(
            f'--validation={share:g} of {len(videos)} videos: give a share between 0 and 1, and at '
            'least two videos'
        )
    count = min(len(videos) - 1, max(1, round(share * len(videos))))
    return set(random.Random(0).sample(sorted(videos), count))


def write(args: argparse.Namespace, boxes: list[Box], classes: list[str]) -> None:
    """Write everything, and print a summary."""
    out = Path(args.out).absolute()
    videos = {box.video for box in boxes}
    held_out = split(videos, args.validation)
    labels = {name: label for label, name in enumerate(classes, start=1)}
    people = sorted({(box.video, box.person) for box in boxes})
    lines: dict[str, list[str]] = dict(train=[], val=[])
    true: dict[str, list[np.ndarray]] = {}
    for box in boxes:
        corners = ','.join(f'{one:.6f}' for one in box.corners)
        person = people.index((box.video, box.person))
        part = 'val' if box.video in held_out else 'train'
        lines[part].append(f'{box.video},{box.time},{corners},{labels[box.action]},{person}\n')
        if part == 'val':
            true.setdefault(frame_key(box.video, box.time), []).append(box.corners)
    if args.people:
        proposals = read_box_csv(args.people).proposals
    else:
        proposals = {key: np.unique(found, axis=0) for key, found in true.items()}
    out.mkdir(parents=True, exist_ok=True)
    for part, text in lines.items():
        (out / f'{part}.csv').write_text(''.join(text), encoding='utf-8')
    items = [f'item {{\n  name: "{name}"\n  id: {label}\n}}\n' for name, label in labels.items()]
    (out / 'actions.pbtxt').write_text(''.join(items), encoding='utf-8')
    write_proposals(out / 'proposals.pkl', proposals)
    num_classes = len(classes) + 1
    config = CONFIG.format(
        actions=len(classes),
        base=args.base,
        num_classes=num_classes,
        folder=str(out),
        videos=osp.abspath(args.videos),
        end=max(box.time for box in boxes),
        topk=tuple(top for top in (3, 5) if top < num_classes) or (1,),
    )
    (out / 'config.py').write_text(config, encoding='utf-8')
    print(
        f'{len(lines["train"])} lines of {len(videos - held_out)} videos to train, '
        f'{len(lines["val"])} of {len(held_out)} to test; {len(classes)} actions: '
        f'{", ".join(classes)}\nNext: python tools/train.py {out / "config.py"}'
    )


def main(argv: list[str] | None = None) -> int:
    """Read, write, and return the exit code."""
    args = parse_args(argv)
    try:
        boxes = read_boxes(args.csv)
        used = {box.action for box in boxes}
        classes = sorted(used)
        if args.classes:
            classes = [line for _, line in read_lines(args.classes)]
            if unknown := sorted(used - set(classes)):
                raise VideoError(f'{args.classes} lacks the classes {", ".join(unknown)}')
        write(args, use_shares(boxes, args.videos), classes)
    except (ValueError, OSError) as error:
        print(f'own_actions.py: {error}', file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())
