"""Make the list files of a data set from its official annotation files.

    python tools/data/build_list.py sthv2
    python tools/data/build_list.py kinetics400 --data-root /disk/k400
    python tools/data/build_list.py ucf101 --split 1 2 3

Reads DATA_ROOT/annotations, finds each video below DATA_ROOT/videos (for
Kinetics-400: videos_train and videos_val), whatever its ending, and writes
into DATA_ROOT

    <list>.txt            "name label" per line, as the configs expect it
    <list>_missing.txt    what is annotated but is not there, or is empty
    label_map.txt         class names; the number of the line, from 0, is the
                          label

The folders that have to be there are in tools/data/<data set>/README.md.

Exit code: 0 the lists are written, 1 videos are missing and --require-all is
given (then only the lists of missing videos are written), 2 the call or an
annotation file is wrong (nothing is written).
"""

import argparse
import csv
import json
import os
import os.path as osp
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from amd_mm.datasets import find_videos, read_list_file
from mmengine.utils import ProgressBar

PARTS = ('train', 'val')


class AnnotationError(ValueError):
    """An annotation file that is not what it should be."""

    def __init__(self, path: Path, problem: str, line: int | None = None) -> None:
        place = str(path) if line is None else f'{path}, line {line}'
        super().__init__(f'{place}: {problem}')


class Annotation(NamedTuple):
    """One annotated video.

    Attributes:
        keys (tuple[str, ...]): Names that its file may have, without folder
            and ending, or (where the folder is part of it) with the folder.
        class_name (str): Its class.
    """

    keys: tuple[str, ...]
    class_name: str


class Annotations(NamedTuple):
    """What the annotation files say.

    Attributes:
        classes (list[str]): Names, in the order of the labels.
        parts (dict[str, list[Annotation]]): ``train`` and ``val``.
    """

    classes: list[str]
    parts: dict[str, list[Annotation]]


class DataSet(NamedTuple):
    """How a data set is laid out.

    Attributes:
        read (Callable): (annotation folder, split) to ``Annotations``.
        num_classes (int): As published.
        list_name (str): Of a list, with ``{part}`` and ``{split}``.
        folder (str): Of the videos, with ``{part}``.
        with_class (bool): Whether a video is known by its folder and name
            rather than by its name.
        splits (tuple[int, ...]): Numbers; empty where there is one only.
    """

    read: Callable[[Path, int], Annotations]
    num_classes: int
    list_name: str
    folder: str
    with_class: bool
    splits: tuple[int, ...] = ()


def find_file(folder: Path, *names: str) -> Path:
    """The first of these files that is there."""
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise AnnotationError(
        folder / names[0],
        'no such annotation file'
        + ''.join(f', nor {name}' for name in names[1:])
        + '. tools/data/<data set>/README.md says where to get it',
    )


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines that are not empty, with their numbers from 1."""
    for number, line in enumerate(path.read_text(encoding='utf-8-sig').splitlines(), start=1):
        if line.strip():
            yield number, line.strip()


def read_json(path: Path, kind: type) -> object:
    """A JSON file that holds a list or a dict."""
    try:
        content = json.loads(path.read_text(encoding='utf-8-sig'))
    except json.JSONDecodeError as error:
        raise AnnotationError(path, f'not JSON ({error.msg})', error.lineno) from None
    if not isinstance(content, kind):
        raise AnnotationError(
            path, f'expected a JSON {kind.__name__}, got a {type(content).__name__}'
        )
    return content


def read_sthv2(folder: Path, split: int) -> Annotations:
    """Something-Something v2: labels, train and validation as JSON."""
    prefix = 'something-something-v2-'
    path = find_file(folder, 'labels.json', f'{prefix}labels.json')
    labels = read_json(path, dict)
    by_number = {}
    for name, number in labels.items():
        if not str(number).isdigit() or int(number) in by_number:
            raise AnnotationError(
                path, f'the label {number!r} of {name!r} is no number, or another class has it too'
            )
        by_number[int(number)] = name
    if sorted(by_number) != list(range(len(by_number))):
        raise AnnotationError(path, 'the labels are not 0, 1, 2 and so on')
    parts = {}
    for part, name in (('train', 'train'), ('val', 'validation')):
        path = find_file(folder, f'{name}.json', f'{prefix}{name}.json')
        parts[part] = [
            _sthv2_video(path, number, item, labels)
            for number, item in enumerate(read_json(path, list), start=1)
        ]
    return Annotations([by_number[n] for n in sorted(by_number)], parts)


def _sthv2_video(path: Path, number: int, item: dict, labels: dict[str, str]) -> Annotation:
    try:
        video, template = str(item['id']), item['template']
    except (KeyError, TypeError):
        raise AnnotationError(
            path, f"entry {number} has no 'id' or no 'template': {item!r}"
        ) from None
    name = template.replace('[', '').replace(']', '')
    if name not in labels:
        raise AnnotationError(
            path,
            f'entry {number} (video {video}): its template {name!r} is not a class of labels.json',
        )
    return Annotation((video,), name)


def read_kinetics400(folder: Path, split: int) -> Annotations:
    """Kinetics-400: csv files, classes in alphabetical order."""
    names = dict(
        train=('train.csv', 'kinetics_train.csv'),
        val=('val.csv', 'validate.csv', 'kinetics_val.csv'),
    )
    parts = {part: list(_kinetics_rows(find_file(folder, *names[part]))) for part in PARTS}
    classes = {video.class_name for video in parts['train']}
    for video in parts['val']:
        if video.class_name not in classes:
            raise AnnotationError(
                find_file(folder, *names['val']),
                f'the class '
                f'{video.class_name!r} (video {video.keys[0]}) is not among '
                'those of training',
            )
    # MMAction2 sorts with underscores, and so do all public models.
    order = sorted(classes, key=lambda name: name.replace(' ', '_'))
    return Annotations(order, parts)


def _kinetics_rows(path: Path) -> Iterator[Annotation]:
    columns = ('label', 'youtube_id', 'time_start', 'time_end')
    with path.open(encoding='utf-8-sig', newline='') as file:
        rows = csv.DictReader(file)
        absent = [c for c in columns if c not in (rows.fieldnames or ())]
        if absent:
            raise AnnotationError(
                path,
                f'no column {", ".join(absent)}: the first line has to '
                'be label,youtube_id,time_start,time_end,split',
                1,
            )
        for row in rows:
            video, name = row['youtube_id'], row['label']
            try:
                start, end = (int(float(row[c])) for c in columns[2:])
            except (TypeError, ValueError):
                raise AnnotationError(
                    path, 'time_start and time_end are not numbers', rows.line_num
                ) from None
            if not video or not name:
                raise AnnotationError(path, 'no youtube_id or no label', rows.line_num)
            yield Annotation((f'{video}_{start:06d}_{end:06d}', video), name.replace('"', ''))


def read_ucf101(folder: Path, split: int) -> Annotations:
    """UCF101: classInd.txt and one pair of lists per split."""
    path, classes = find_file(folder, 'classInd.txt'), []
    for number, line in numbered_lines(path):
        fields = line.split()
        if len(fields) != 2 or fields[0] != str(len(classes) + 1):
            raise AnnotationError(
                path, f"expected '{len(classes) + 1} ClassName', got {line!r}", number
            )
        classes.append(fields[1])
    parts = {}
    for part, name in (('train', 'trainlist'), ('val', 'testlist')):
        path = find_file(folder, f'{name}{split:02d}.txt')
        parts[part] = [
            _ucf101_video(path, number, line, classes) for number, line in numbered_lines(path)
        ]
    return Annotations(classes, parts)


def _ucf101_video(path: Path, number: int, line: str, classes: list[str]) -> Annotation:
    name, *label = line.split()
    folder, video = osp.split(name)
    if folder not in classes:
        raise AnnotationError(
            path, f'the folder of {name!r} is not a class of classInd.txt', number
        )
    if label and label != [str(classes.index(folder) + 1)]:
        raise AnnotationError(
            path,
            f'{folder} is class {classes.index(folder) + 1} in '
            f'classInd.txt, but {" ".join(label)} here',
            number,
        )
    return Annotation((f'{folder}/{osp.splitext(video)[0]}',), folder)


def read_hmdb51(folder: Path, split: int) -> Annotations:
    """HMDB51: one file per class and split; 1 training, 2 test, 0 unused."""
    pattern = re.compile(rf'(.+)_test_split{split}\.txt')
    found = {}
    if folder.is_dir():
        matches = map(pattern.fullmatch, sorted(os.listdir(folder)))
        found = {match[1]: folder / match[0] for match in matches if match}
    if not found:
        raise AnnotationError(
            folder / f'<class>_test_split{split}.txt',
            'no such annotation files. tools/data/hmdb51/README.md says where to get them',
        )
    parts: dict[str, list[Annotation]] = {part: [] for part in PARTS}
    for name, path in found.items():
        for number, line in numbered_lines(path):
            video, _, use = line.rpartition(' ')
            if use not in ('0', '1', '2') or not video:
                raise AnnotationError(path, f"expected 'video.avi 0', 1 or 2, got {line!r}", number)
            if use != '0':
                key = f'{name}/{osp.splitext(video.strip())[0]}'
                parts[PARTS[int(use) - 1]].append(Annotation((key,), name))
    return Annotations(sorted(found), parts)


DATA_SETS = {
    'sthv2': DataSet(read_sthv2, 174, 'sthv2_{part}_list_videos', 'videos', False),
    'kinetics400': DataSet(
        read_kinetics400, 400, 'kinetics400_{part}_list_videos', 'videos_{part}', False
    ),
    'ucf101': DataSet(
        read_ucf101, 101, 'ucf101_{part}_split_{split}_videos', 'videos', True, (1, 2, 3)
    ),
    'hmdb51': DataSet(
        read_hmdb51, 51, 'hmdb51_{part}_split_{split}_videos', 'videos', True, (1, 2, 3)
    ),
}


def find_by_key(folder: Path, with_class: bool) -> dict[str, str]:
    """Videos below a folder: key to path relative to the folder."""
    print(f'looking for videos in {folder}', file=sys.stderr)
    found: dict[str, str] = {}
    for name in find_videos(str(folder)):
        path = Path(name).with_suffix('')
        key = '/'.join(path.parts[-2:]) if with_class else path.name
        if key in found:
            raise ValueError(
                f'{folder}: {found[key]} and {name} are the same video; leave one of them there'
            )
        found[key] = name
    return found


class Lists(NamedTuple):
    """Lines of a list: what is there, and what is not."""

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
    lists, seen = Lists([], []), {}
    labels = {name: label for label, name in enumerate(classes)}
    bar = ProgressBar(len(annotations), file=sys.stderr)
    for video in annotations:
        label = labels[video.class_name]
        key = next((k for k in video.keys if k in videos), None)
        if key is None or not osp.getsize(folder / videos[key]):
            lists.missing.append(f'{video.keys[0]}{delimiter}{label}')
        else:
            if seen.setdefault(key, video) is not video:
                raise ValueError(f'{folder / videos[key]} is annotated twice')
            lists.there.append(f'{videos[key]}{delimiter}{label}')
        bar.update()
    print(file=sys.stderr)
    return lists


def build(args: argparse.Namespace) -> tuple[dict[str, Lists], list[str]]:
    """All lists of the call, by name, and the classes."""
    data_set = DATA_SETS[args.data_set]
    root = Path(args.data_root or f'data/{args.data_set}')
    num_classes = args.num_classes or data_set.num_classes
    result, indexed = {}, {}
    for split in args.split or [1]:
        classes, parts = data_set.read(root / 'annotations', split)
        if len(classes) != num_classes:
            raise ValueError(
                f'{root / "annotations"}: {len(classes)} classes, not '
                f'{num_classes}. For a part of the data set give '
                '--num-classes, and the model as many'
            )
        for part in PARTS:
            folder = root / data_set.folder.format(part=part)
            if folder not in indexed:
                indexed[folder] = find_by_key(folder, data_set.with_class)
            name = data_set.list_name.format(part=part, split=split)
            result[name] = match(parts[part], classes, indexed[folder], folder, args.delimiter)
            if not result[name].there:
                raise ValueError(
                    f'none of the {len(parts[part])} videos of {name} is in '
                    f'{folder}, the first one is '
                    f'{parts[part][0].keys[0] if parts[part] else "-"}'
                )
    return result, classes


def write_lines(path: Path, lines: list[str]) -> None:
    """Write a text file in one go."""
    temporary = path.with_name(f'.{path.name}.tmp')
    temporary.write_text(''.join(f'{line}\n' for line in lines), encoding='utf-8')
    temporary.replace(path)


def write_lists(
    root: Path, lists: dict[str, Lists], classes: list[str], args: argparse.Namespace
) -> int:
    """Write everything; the exit code."""
    count = sum(len(one.missing) for one in lists.values())
    refuse = bool(count and args.require_all)
    files: dict[str, list[str]] = {}
    for name, one in lists.items():
        files[f'{name}_missing.txt'] = one.missing
        if not refuse:
            files[f'{name}.txt'] = one.there
    if not refuse:
        files['label_map.txt'] = classes
    kept = [
        name
        for name, lines in files.items()
        if not name.endswith('_missing.txt')
        and (root / name).exists()
        and (root / name).read_text(encoding='utf-8').splitlines() != lines
    ]
    if kept and not args.overwrite:
        raise ValueError(
            f'{root}: {", ".join(kept)} exist and would change: move them away, or give --overwrite'
        )
    for name, lines in files.items():
        write_lines(root / name, lines)
    for name, one in lists.items():
        total = len(one.there) + len(one.missing)
        print(f'{name}: {len(one.there)} of {total} videos are there')
        if one.missing:
            print(f'  missing: {root / name}_missing.txt')
        if not refuse:  # as training will
            read_list_file(str(root / f'{name}.txt'), args.delimiter, num_classes=len(classes))
    if refuse:
        print(f'no list is written: {count} videos are missing')
    else:
        print(f'lists and label_map.txt are in {root}')
    return 1 if refuse else 0


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('data_set', choices=list(DATA_SETS))
    parser.add_argument('--data-root', help='its folder (default: data/<data set>)')
    parser.add_argument(
        '--split', type=int, nargs='+', help='splits of ucf101 and hmdb51 (default: 1)'
    )
    parser.add_argument(
        '--num-classes', type=int, help='classes there have to be (default: all of the data set)'
    )
    parser.add_argument(
        '--delimiter',
        default=' ',
        help='between name and label (default: a space, which names may contain)',
    )
    parser.add_argument(
        '--require-all', action='store_true', help='write no list when a video is missing'
    )
    parser.add_argument(
        '--overwrite', action='store_true', help='replace lists that are there already'
    )
    args = parser.parse_args(argv)
    splits = DATA_SETS[args.data_set].splits
    for split in args.split or ():
        if split not in splits:
            parser.error(
                f'{args.data_set} has no split {split}' + (f', only {splits}' if splits else '')
            )
    if not args.delimiter:
        parser.error('--delimiter is empty')
    return args


def main(argv: list[str] | None = None) -> int:
    """Find the videos, write the lists, and give the exit code."""
    args = parse_args(argv)
    root = Path(args.data_root or f'data/{args.data_set}')
    try:
        lists, classes = build(args)
        return write_lists(root, lists, classes, args)
    except (OSError, ValueError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2


if __name__ == '__main__':
    sys.exit(main())
