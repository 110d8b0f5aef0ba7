"""Make the list files of a dataset from its official annotation files.

    python tools/data/build_list.py sthv2
    python tools/data/build_list.py kinetics400 --data-root /disk/k400
    python tools/data/build_list.py ucf101 --split 1 2 3

Reads DATA_ROOT/annotations, finds each video below DATA_ROOT/videos (for Kinetics-400: videos_train
and videos_val), whatever its ending, and writes into DATA_ROOT

    <list>.txt            "name label" per line, as the configs expect it
    <list>_missing.txt    annotated videos that are missing or empty
    label_map.txt         class names; the label is the number of the line, from 0

tools/data/<dataset>/README.md names the annotation files.

Exit code: 0 the lists are written, 1 videos are missing and --require-all is given (only the lists
of missing videos are written), 2 the call or an annotation file is wrong (nothing is written).
"""

import argparse
import csv
import json
import os.path as osp
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import _venv  # noqa: F401, first: finds the packages
from amd_mm.datasets import find_videos
from amd_mm.datasets.files import read_lines
from amd_mm.errors import VideoError
from mmengine.utils import ProgressBar

PARTS = ('train', 'val')


class Annotation(NamedTuple):
    """One annotated video.

    Attributes:
        keys: names that its file may have, without ending; with its folder for ``with_class``.
    """

    keys: tuple[str, ...]
    class_name: str


class Annotations(NamedTuple):
    """Class names in the order of the labels, and the videos of ``train`` and ``val``."""

    classes: list[str]
    parts: dict[str, list[Annotation]]


class DataSet(NamedTuple):
    """Layout of a dataset.

    Attributes:
        read: (annotation folder, split) -> Annotations.
        list_name: with ``{part}`` and ``{split}``.
        folder: of the videos, with ``{part}``.
        with_class: names are unique within the folder of a class only.
        splits: numbers; empty if there is only one.
    """

    read: Callable[[Path, int], Annotations]
    num_classes: int
    list_name: str
    folder: str = 'videos'
    with_class: bool = False
    splits: tuple[int, ...] = ()


def find_file(folder: Path, *names: str) -> Path:
    """The first of these files that exists."""
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise VideoError(
        f'{folder} has no annotation file {" or ".join(names)}. tools/data/<dataset>/README.md '
        'says where to get it'
    )


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Name the file in the error about a wrong annotation."""
    try:
        yield
    except (LookupError, TypeError, ValueError) as error:
        raise VideoError(
            f'{path} is not as the data set has it ({type(error).__name__}: {error}): get it again'
        ) from error


def lines_of(path: Path) -> list[str]:
    """The lines that are not empty."""
    return [line for _, line in read_lines(path)]


def read_sthv2(folder: Path, split: int) -> Annotations:
    """Something-Something v2: labels, train and validation as JSON."""
    prefix = 'something-something-v2-'
    path = find_file(folder, 'labels.json', f'{prefix}labels.json')
    with reading(path):
        labels = json.loads(path.read_text(encoding='utf-8-sig'))
        classes = sorted(labels, key=lambda name: int(labels[name]))
    parts = {}
    for part, name in zip(PARTS, ('train', 'validation')):
        path = find_file(folder, f'{name}.json', f'{prefix}{name}.json')
        with reading(path):
            parts[part] = [
                Annotation((str(item['id']),), item['template'].replace('[', '').replace(']', ''))
                for item in json.loads(path.read_text(encoding='utf-8-sig'))
            ]
    return Annotations(classes, parts)


def read_kinetics400(folder: Path, split: int) -> Annotations:
    """Kinetics-400: csv files, classes in alphabetical order."""
    names = dict(
        train=('train.csv', 'kinetics_train.csv'),
        val=('val.csv', 'validate.csv', 'kinetics_val.csv'),
    )
    parts: dict[str, list[Annotation]] = {part: [] for part in PARTS}
    for part in PARTS:
        path = find_file(folder, *names[part])
        with reading(path), path.open(encoding='utf-8-sig', newline='') as file:
            for row in csv.DictReader(file):
                video = row['youtube_id']
                start, end = (int(float(row[f'time_{edge}'])) for edge in ('start', 'end'))
                keys = (f'{video}_{start:06d}_{end:06d}', video)
                parts[part].append(Annotation(keys, row['label'].replace('"', '')))
    classes = {video.class_name for video in parts['train']}
    # MMAction2 sorts with underscores, and so do all public models.
    return Annotations(sorted(classes, key=lambda name: name.replace(' ', '_')), parts)


def read_ucf101(folder: Path, split: int) -> Annotations:
    """UCF101: classInd.txt and one pair of lists per split."""
    path = find_file(folder, 'classInd.txt')
    with reading(path):
        numbers = {name: int(number) for number, name in map(str.split, lines_of(path))}
    parts = {}
    for part, name in zip(PARTS, ('trainlist', 'testlist')):
        # A line of trainlist has the label, too: 'Archery/v_1.avi 3'.
        videos = [
            osp.splitext(line.split()[0])[0]
            for line in lines_of(find_file(folder, f'{name}{split:02d}.txt'))
        ]
        parts[part] = [Annotation((video,), osp.dirname(video)) for video in videos]
    return Annotations(sorted(numbers, key=lambda name: numbers[name]), parts)


def read_hmdb51(folder: Path, split: int) -> Annotations:
    """HMDB51: one file per class and split; 1 training, 2 test, 0 unused."""
    ending = f'_test_split{split}.txt'
    paths = {path.name.removesuffix(ending): path for path in folder.glob(f'*{ending}')}
    classes = sorted(paths)
    if not classes:
        find_file(folder, f'<class>{ending}')
    parts: dict[str, list[Annotation]] = {part: [] for part in (*PARTS, 'unused')}
    for class_name in classes:
        with reading(paths[class_name]):
            for line in lines_of(paths[class_name]):
                name, use = line.rsplit(maxsplit=1)
                key = f'{class_name}/{osp.splitext(name)[0]}'
                part = {'0': 'unused', '1': 'train', '2': 'val'}[use]
                parts[part].append(Annotation((key,), class_name))
    return Annotations(classes, parts)


_SPLIT_LISTS = '{}_{{part}}_split_{{split}}_videos'
DATA_SETS = {
    'sthv2': DataSet(read_sthv2, 174, 'sthv2_{part}_list_videos'),
    'kinetics400': DataSet(
        read_kinetics400, 400, 'kinetics400_{part}_list_videos', 'videos_{part}'
    ),
    'ucf101': DataSet(
        read_ucf101, 101, _SPLIT_LISTS.format('ucf101'), with_class=True, splits=(1, 2, 3)
    ),
    'hmdb51': DataSet(
        read_hmdb51, 51, _SPLIT_LISTS.format('hmdb51'), with_class=True, splits=(1, 2, 3)
    ),
}


def find_by_key(folder: Path, with_class: bool) -> dict[str, str]:
    """Videos below a folder: key -> path relative to the folder."""
    print(f'looking for videos in {folder}', file=sys.stderr)
    found: dict[str, str] = {}
    for name in find_videos(str(folder)):
        path = Path(name).with_suffix('')
        key = '/'.join(path.parts[-2:]) if with_class else path.name
        if key in found:
            raise VideoError(
                f'{folder}: {found[key]} and {name} are the same video; remove one of them'
            )
        found[key] = name
    return found


class Lists(NamedTuple):
    """Lines of a list, and of the list of missing videos."""

    there: list[str]
    missing: list[str]


def match(
    annotations: list[Annotation], classes: list[str], videos: dict[str, str], folder: Path
) -> Lists:
    """Give every annotated video its file and its label."""
    lists = Lists([], [])
    labels = {name: label for label, name in enumerate(classes)}
    bar = ProgressBar(len(annotations), file=sys.stderr)
    for video in annotations:
        if video.class_name not in labels:
            raise VideoError(f'{video.class_name!r}, of video {video.keys[0]}, is not a class')
        label = labels[video.class_name]
        key = next((key for key in video.keys if key in videos), None)
        if key is None or not osp.getsize(folder / videos[key]):
            lists.missing.append(f'{video.keys[0]} {label}')
        else:
            lists.there.append(f'{videos[key]} {label}')
        bar.update()
    print(file=sys.stderr)
    return lists


def build(root: Path, args: argparse.Namespace) -> tuple[dict[str, Lists], list[str]]:
    """All lists of the call, by name, and the classes."""
    data_set = DATA_SETS[args.data_set]
    num_classes = args.num_classes or data_set.num_classes
    result: dict[str, Lists] = {}
    videos: dict[Path, dict[str, str]] = {}
    for split in args.split or [1]:
        classes, parts = data_set.read(root / 'annotations', split)
        if len(classes) != num_classes:
            raise VideoError(
                f'{root / "annotations"}: {len(classes)} classes, not {num_classes}. For a part of '
                'the dataset give --num-classes, and set num_classes of the model'
            )
        for part in PARTS:
            folder = root / data_set.folder.format(part=part)
            if folder not in videos:
                videos[folder] = find_by_key(folder, data_set.with_class)
            name = data_set.list_name.format(part=part, split=split)
            result[name] = match(parts[part], classes, videos[folder], folder)
            if not result[name].there:
                first = ', '.join(result[name].missing[:1])
                raise VideoError(
                    f'{folder} has none of the {len(parts[part])} videos of {name} ({first})'
                )
    return result, classes


def write_lists(
    root: Path, lists: dict[str, Lists], classes: list[str], args: argparse.Namespace
) -> int:
    """Write everything, and return the exit code."""
    missing = sum(len(one.missing) for one in lists.values())
    files = {f'{name}_missing.txt': one.missing for name, one in lists.items()}
    if not (missing and args.require_all):
        main_files = {f'{name}.txt': one.there for name, one in lists.items()}
        main_files['label_map.txt'] = classes
        changed = [
            name
            for name, lines in main_files.items()
            if (root / name).exists() and lines_of(root / name) != lines
        ]
        if changed and not args.overwrite:
            raise VideoError(
                f'{root}: {", ".join(changed)} exist and would change: move them, or give '
                '--overwrite'
            )
        files.update(main_files)
    for name, lines in files.items():
        (root / name).write_text(''.join(f'{line}\n' for line in lines), encoding='utf-8')
    for name, one in lists.items():
        total = len(one.there) + len(one.missing)
        print(f'{name}: {len(one.there)} of {total} videos are there')
        if one.missing:
            print(f'  missing: {root / name}_missing.txt')
    if missing and args.require_all:
        print(f'no list is written: {missing} videos are missing')
        return 1
    print(f'lists and label_map.txt are in {root}')
    return 0


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('data_set', choices=list(DATA_SETS))
    add('--data-root', help='its folder (default: data/<dataset>)')
    add('--split', type=int, nargs='+', help='splits of ucf101 and hmdb51 (default: 1)')
    add('--num-classes', type=int, help='expected number (default: all of the dataset)')
    add('--require-all', action='store_true', help='write no list if a video is missing')
    add('--overwrite', action='store_true', help='replace existing lists')
    args = parser.parse_args(argv)
    splits = DATA_SETS[args.data_set].splits
    for split in args.split or ():
        if split not in splits:
            only = f', only {splits}' if splits else ''
            parser.error(f'{args.data_set} has no split {split}{only}')
    return args


def main(argv: list[str] | None = None) -> int:
    """Find the videos, write the lists, and return the exit code."""
    args = parse_args(argv)
    root = Path(args.data_root or f'data/{args.data_set}')
    try:
        lists, classes = build(root, args)
        return write_lists(root, lists, classes, args)
    except (OSError, ValueError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2


if __name__ == '__main__':
    sys.exit(main())
