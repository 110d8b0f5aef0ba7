"""Make the list files of a dataset from its official annotation files.

    python tools/data/build_list.py sthv2
    python tools/data/build_list.py kinetics400 --data-root /disk/k400
    python tools/data/build_list.py ucf101 --split 1 2 3

Reads DATA_ROOT/annotations, finds each video below DATA_ROOT/videos (for Kinetics-400: videos_train
and videos_val), whatever its ending, and writes into DATA_ROOT

    <list>.txt            "name label" per line, as the configs expect it
    <list>_missing.txt    annotated videos that are missing or empty
    label_map.txt         class names; the label is the number of the line, from 0

tools/data/<dataset>/README.md says which files have to be there.

Exit code: 0 the lists are written, 1 videos are missing and --require-all is given (only the lists
of missing videos are written), 2 the call or an annotation file is wrong (nothing is written).
"""

import argparse
import csv
import json
import os.path as osp
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from amd_mm.datasets import find_videos, read_list_file
from amd_mm.errors import VideoError
from mmengine.utils import ProgressBar

PARTS = ('train', 'val')


def wrong(path: Path, problem: str, line: int | None = None) -> VideoError:
    """The error of an annotation file."""
    return VideoError(f'{path}{"" if line is None else f", line {line}"}: {problem}')


class Annotation(NamedTuple):
    """One annotated video.

    Attributes:
        keys: names that its file may have, without ending; with the folder if that counts.
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
        with_class: a video is known by its folder and name, not by its name alone.
        splits: numbers; empty if there is only one.
    """

    read: Callable[[Path, int], Annotations]
    num_classes: int
    list_name: str
    folder: str = 'videos'
    with_class: bool = False
    splits: tuple[int, ...] = ()


def find_file(folder: Path, *names: str) -> Path:
    """The first of these files that is there."""
    for name in names:
        if (folder / name).is_file():
            return folder / name
    others = ''.join(f', nor {name}' for name in names[1:])
    raise wrong(
        folder / names[0],
        f'no such annotation file{others}. tools/data/<dataset>/README.md says where to get it',
    )


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines that are not empty, with their numbers from 1."""
    for number, line in enumerate(path.read_text(encoding='utf-8-sig').splitlines(), start=1):
        if line.strip():
            yield number, line.strip()


def read_json(path: Path, kind: type) -> dict | list:
    """A JSON file that holds a list or a dict."""
    try:
        content = json.loads(path.read_text(encoding='utf-8-sig'))
    except json.JSONDecodeError as error:
        raise wrong(path, f'not JSON ({error.msg})', error.lineno) from None
    if not isinstance(content, kind):
        raise wrong(path, f'expected a JSON {kind.__name__}, got a {type(content).__name__}')
    return content


def read_sthv2(folder: Path, split: int) -> Annotations:
    """Something-Something v2: labels, train and validation as JSON."""
    prefix = 'something-something-v2-'
    path = find_file(folder, 'labels.json', f'{prefix}labels.json')
    labels = read_json(path, dict)
    classes = sorted(labels, key=lambda name: str(labels[name]).zfill(9))
    numbers = [str(labels[name]) for name in classes]
    if numbers != [str(number) for number in range(len(classes))]:
        raise wrong(path, f'the labels are not 0, 1, 2 and so on, each once, but {numbers[:10]}')
    parts: dict[str, list[Annotation]] = {}
    for part, name in zip(PARTS, ('train', 'validation')):
        path = find_file(folder, f'{name}.json', f'{prefix}{name}.json')
        parts[part] = []
        for number, item in enumerate(read_json(path, list), start=1):
            try:
                video, template = str(item['id']), item['template']
            except (KeyError, TypeError):
                raise wrong(path, f"entry {number} has no 'id' or 'template': {item!r}") from None
            class_name = template.replace('[', '').replace(']', '')
            if class_name not in labels:
                raise wrong(
                    path,
                    f'entry {number} (video {video}): its template {class_name!r} is not a class '
                    'of labels.json',
                )
            parts[part].append(Annotation((video,), class_name))
    return Annotations(classes, parts)


def read_kinetics400(folder: Path, split: int) -> Annotations:
    """Kinetics-400: csv files, classes in alphabetical order."""
    names = dict(
        train=('train.csv', 'kinetics_train.csv'),
        val=('val.csv', 'validate.csv', 'kinetics_val.csv'),
    )
    paths = {part: find_file(folder, *names[part]) for part in PARTS}
    parts = {part: list(_kinetics_rows(path)) for part, path in paths.items()}
    classes = {video.class_name for video in parts['train']}
    for video in parts['val']:
        if video.class_name not in classes:
            raise wrong(
                paths['val'],
                f'the class {video.class_name!r} (video {video.keys[0]}) is not among those of '
                'training',
            )
    # MMAction2 sorts with underscores, and so do all public models.
    return Annotations(sorted(classes, key=lambda name: name.replace(' ', '_')), parts)


def _kinetics_rows(path: Path) -> Iterator[Annotation]:
    columns = ('label', 'youtube_id', 'time_start', 'time_end')
    with path.open(encoding='utf-8-sig', newline='') as file:
        rows = csv.DictReader(file)
        missing = [column for column in columns if column not in (rows.fieldnames or ())]
        if missing:
            raise wrong(path, f'no column {", ".join(missing)}; needed are {",".join(columns)}', 1)
        for row in rows:
            video, name = row['youtube_id'], row['label']
            try:
                start, end = (int(float(row[column])) for column in columns[2:])
            except (TypeError, ValueError):
                raise wrong(
                    path, 'time_start and time_end are not numbers', rows.line_num
                ) from None
            if not video or not name:
                raise wrong(path, 'no youtube_id or no label', rows.line_num)
            yield Annotation((f'{video}_{start:06d}_{end:06d}', video), name.replace('"', ''))


def read_ucf101(folder: Path, split: int) -> Annotations:
    """UCF101: classInd.txt and one pair of lists per split."""
    path, classes = find_file(folder, 'classInd.txt'), []
    for number, line in numbered_lines(path):
        fields = line.split()
        expected = str(len(classes) + 1)
        if len(fields) != 2 or fields[0] != expected:
            raise wrong(path, f"expected '{expected} ClassName', got {line!r}", number)
        classes.append(fields[1])
    parts: dict[str, list[Annotation]] = {}
    for part, name in zip(PARTS, ('trainlist', 'testlist')):
        path = find_file(folder, f'{name}{split:02d}.txt')
        parts[part] = []
        for number, line in numbered_lines(path):
            name, *label = line.split()
            class_name, video = osp.split(name)
            if class_name not in classes:
                raise wrong(path, f'the folder of {name!r} is not in classInd.txt', number)
            expected = str(classes.index(class_name) + 1)
            if label and label != [expected]:
                raise wrong(
                    path,
                    f'{class_name} is class {expected} in classInd.txt, but {" ".join(label)} here',
                    number,
                )
            parts[part].append(Annotation((f'{class_name}/{osp.splitext(video)[0]}',), class_name))
    return Annotations(classes, parts)


def read_hmdb51(folder: Path, split: int) -> Annotations:
    """HMDB51: one file per class and split; 1 training, 2 test, 0 unused."""
    pattern = re.compile(rf'(.+)_test_split{split}\.txt')
    paths = sorted(folder.glob(f'*_test_split{split}.txt'))
    if not paths:
        raise wrong(
            folder / f'<class>_test_split{split}.txt',
            'no such annotation files. tools/data/hmdb51/README.md says where to get them',
        )
    parts: dict[str, list[Annotation]] = {part: [] for part in PARTS}
    classes = []
    for path in paths:
        classes.append(pattern.fullmatch(path.name)[1])
        for number, line in numbered_lines(path):
            video, _, use = line.rpartition(' ')
            if use not in ('0', '1', '2') or not video:
                raise wrong(path, f"expected 'video.avi 0', 1 or 2, got {line!r}", number)
            if use != '0':
                key = f'{classes[-1]}/{osp.splitext(video.strip())[0]}'
                parts[PARTS[int(use) - 1]].append(Annotation((key,), classes[-1]))
    return Annotations(sorted(classes), parts)


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
            raise ValueError(
                f'{folder}: {found[key]} and {name} are the same video; remove one of them'
            )
        found[key] = name
    return found


class Lists(NamedTuple):
    """Lines of a list, and of the videos that are missing."""

    there: list[str]
    missing: list[str]


def match(
    annotations: list[Annotation],
    classes: list[str],
    videos: dict[str, str],
    folder: Path,
    delimiter: str,
) -> Lists:
    """Give every annotated video its file and its label."""
    lists, used = Lists([], []), set()
    labels = {name: label for label, name in enumerate(classes)}
    bar = ProgressBar(len(annotations), file=sys.stderr)
    for video in annotations:
        label = labels[video.class_name]
        key = next((key for key in video.keys if key in videos), None)
        if key is None or not osp.getsize(folder / videos[key]):
            lists.missing.append(f'{video.keys[0]}{delimiter}{label}')
        elif key in used:
            raise ValueError(f'{folder / videos[key]} is annotated twice')
        else:
            used.add(key)
            lists.there.append(f'{videos[key]}{delimiter}{label}')
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
            raise ValueError(
                f'{root / "annotations"}: {len(classes)} classes, not {num_classes}. For a part of '
                'the dataset give --num-classes, and set num_classes of the model'
            )
        for part in PARTS:
            folder = root / data_set.folder.format(part=part)
            if folder not in videos:
                videos[folder] = find_by_key(folder, data_set.with_class)
            name = data_set.list_name.format(part=part, split=split)
            result[name] = match(parts[part], classes, videos[folder], folder, args.delimiter)
            if not result[name].there:
                first = parts[part][0].keys[0] if parts[part] else '-'
                raise ValueError(
                    f'none of the {len(parts[part])} videos of {name} is in {folder}, the first '
                    f'one is {first}'
                )
    return result, classes


def write_lists(
    root: Path, lists: dict[str, Lists], classes: list[str], args: argparse.Namespace
) -> int:
    """Write everything, and return the exit code."""
    count = sum(len(one.missing) for one in lists.values())
    refuse = bool(count and args.require_all)
    missing = {f'{name}_missing.txt': one.missing for name, one in lists.items()}
    files = {} if refuse else {f'{name}.txt': one.there for name, one in lists.items()}
    if not refuse:
        files['label_map.txt'] = classes
    changed = [
        name
        for name, lines in files.items()
        if (root / name).exists()
        and (root / name).read_text(encoding='utf-8').splitlines() != lines
    ]
    if changed and not args.overwrite:
        raise ValueError(
            f'{root}: {", ".join(changed)} exist and would change: move them, or give --overwrite'
        )
    for name, lines in (files | missing).items():
        part = root / f'.{name}.tmp'
        part.write_text(''.join(f'{line}\n' for line in lines), encoding='utf-8')
        part.replace(root / name)
    for name, one in lists.items():
        total = len(one.there) + len(one.missing)
        print(f'{name}: {len(one.there)} of {total} videos are there')
        if one.missing:
            print(f'  missing: {root / name}_missing.txt')
        if not refuse:  # check them as training does
            read_list_file(str(root / f'{name}.txt'), args.delimiter, num_classes=len(classes))
    if refuse:
        print(f'no list is written: {count} videos are missing')
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
    add(
        '--delimiter',
        default=' ',
        help='between name and label (default: a space, which names may contain)',
    )
    add('--require-all', action='store_true', help='write no list if a video is missing')
    add('--overwrite', action='store_true', help='replace existing lists')
    args = parser.parse_args(argv)
    splits = DATA_SETS[args.data_set].splits
    for split in args.split or ():
        if split not in splits:
            only = f', only {splits}' if splits else ''
            parser.error(f'{args.data_set} has no split {split}{only}')
    if not args.delimiter:
        parser.error('--delimiter is empty')
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
