"""TinyMIM on handwritten digits: does pre-training save labels?

    python tools/quickstart/digits.py

A teacher (MAE) and then its small student (TinyMIM) learn from 1297 digits
without labels. The student is fine-tuned with three labels a class, and so is
the same network from scratch, with the same labels, steps and settings. Needs
`pip install --no-deps scikit-learn`, which brings the digits. Interrupted, the
same command goes on where it stopped.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from quickstart import count_cores
from tasks import Crew, Task, TaskError, config_files

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / 'tools' / 'quickstart'
CONFIGS = ROOT / 'configs' / 'quickstart_image'
BASE = CONFIGS / 'quickstart_image_teacher.py'
FINETUNE = CONFIGS / 'quickstart_image_finetune.py'
PRETRAINED = 'epoch_40.pth'  # what the configs' runs end with
SCRATCH, TINYMIM = 'scratch', 'tinymim'
CAPTIONS = {SCRATCH: 'from scratch', TINYMIM: 'TinyMIM, then fine-tuned'}


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        '--seeds',
        type=int,
        nargs='+',
        default=[0, 1, 2],
        help='fine-tune with these seeds, each with labels of its own (default: 0 1 2)',
    )
    parser.add_argument(
        '--out',
        type=Path,
        default=ROOT / 'work_dirs' / 'quickstart_image',
        help='where everything goes (default: work_dirs/quickstart_image)',
    )
    return parser.parse_args(arguments)


def train(
    name: str, config: Path, out: Path, after: Sequence[Task], options: Sequence[str], seed: int = 0
) -> Task:
    """The task that runs a config by tools/train.py.

    Args:
        name (str): Of the run and its folder.
        config (Path): The config.
        out (Path): The quickstart's folder.
        after (Sequence[Task]): What it rests on.
        options (Sequence[str]): For ``--cfg-options``.
        seed (int): Of the run.
    """
    command = (
        str(ROOT / 'tools' / 'train.py'),
        str(config),
        '--work-dir',
        str(out / name),
        '--seed',
        str(seed),
        '--cfg-options',
        *options,
    )
    return Task(
        name,
        out / name,
        command,
        inputs=config_files(config),
        after=tuple(after),
        resume=('--resume',),
    )


def plan(out: Path, seeds: Sequence[int]) -> dict[str, list[Task]]:
    """All tasks, in order.

    Returns:
        Dict[str, List[Task]]: ``before`` (images, teacher, student) and, for
        each start, the fine-tuning of every seed.
    """
    program = HERE / 'digit_images.py'
    images = Task('images', out / 'images', (str(program), str(out / 'images')), inputs=(program,))
    data = f'train_dataloader.dataset.data_root={out}/images/train'
    teacher = train('teacher', BASE, out, [images], [data])
    student = train(
        'student',
        CONFIGS / 'quickstart_image_tinymim.py',
        out,
        [images, teacher],
        [data, f'model.teacher.checkpoint={last_checkpoint(teacher)}'],
    )
    tasks = dict(before=[images, teacher, student])
    starts = {
        SCRATCH: ([images], []),
        TINYMIM: ([images, student], [f'model.backbone.pretrained={last_checkpoint(student)}']),
    }
    for start, (after, options) in starts.items():
        tasks[start] = [
            train(
                f'{start}-{seed}',
                FINETUNE,
                out,
                after,
                [
                    data,
                    f'val_dataloader.dataset.data_root={out}/images/val',
                    f'train_dataloader.dataset.subset_seed={seed}',
                    *options,
                ],
                seed,
            )
            for seed in seeds
        ]
    return tasks


def last_checkpoint(task: Task) -> Path:
    """What a pre-training run ends with."""
    return task.folder / PRETRAINED


def accuracy(folder: Path) -> float:
    """Top-1 of a fine-tuning run at its end, in per cent."""
    newest = sorted(folder.glob('*/vis_data/scalars.json'))[-1]
    lines = map(json.loads, newest.read_text().splitlines())
    return [line['accuracy/top1'] for line in lines if 'accuracy/top1' in line][-1]


def table(scores: dict[str, list[float]], seeds: Sequence[int]) -> str:
    """The scores as a table that is readable as it is and as Markdown."""
    rows = [('3 labels a class', *(f'seed {seed}' for seed in seeds), 'mean')]
    for start, caption in CAPTIONS.items():
        values = scores[start]
        rows.append(
            (caption, *(f'{value:.1f}' for value in values), f'{statistics.mean(values):.1f}')
        )
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = [
        '| ' + ' | '.join(cell.ljust(width) for cell, width in zip(row, widths)) + ' |'
        for row in rows
    ]
    lines.insert(1, '|' + '|'.join('-' * (width + 2) for width in widths) + '|')
    note = 'Top-1 on 500 held-out digits, %, after the last epoch; chance: 10.'
    return '\n'.join(lines) + f'\n\n{note}\n'


def run(args: argparse.Namespace) -> str:
    """Run what is not finished yet; the table."""
    out = args.out.resolve()
    tasks = plan(out, args.seeds)
    crew = Crew(count_cores())
    crew.run(tasks['before'][:1])
    # Tiny models gain little from a second core: two runs at a time.
    crew.run(tasks['before'][1:] + tasks[TINYMIM] + tasks[SCRATCH], at_a_time=2)
    scores = {start: [accuracy(task.folder) for task in tasks[start]] for start in CAPTIONS}
    text = table(scores, args.seeds)
    (out / 'results.md').write_text(text)
    return text


def main(arguments: list[str] | None = None) -> None:
    """Run everything and show the outcome."""
    started = time.monotonic()
    try:
        text = run(parse_args(arguments))
    except TaskError as error:
        sys.exit(f'\ndigits.py: {error}')
    except KeyboardInterrupt:
        sys.exit('\ndigits.py: interrupted; the same command goes on')
    print(f'\n{text}\nTook {time.monotonic() - started:.0f} s.')


if __name__ == '__main__':
    main()
