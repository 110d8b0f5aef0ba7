"""TinyMIM on handwritten digits: pre-training saves labels.

    python tools/quickstart/digits.py

A teacher (MAE) and then its small student (TinyMIM) learn from 1297 digits without labels. The
student is fine-tuned with three labels per class, and so is the same network from scratch, with the
same labels, steps and settings. The digits come with scikit-learn. Installs what is missing first.
Interrupted, the same command continues; finished steps are skipped.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from steps import ROOT, Runner, Step, StepError, ensure_installed

CONFIGS = ROOT / 'configs' / 'quickstart_image'
PRETRAINED, FINETUNED = 'epoch_40.pth', 'epoch_300.pth'  # the last checkpoints of the runs
CAPTIONS = dict(scratch='from scratch', tinymim='TinyMIM, then fine-tuned')
HELD_OUT = 500


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        '--seeds',
        type=int,
        nargs='+',
        default=[0, 1, 2],
        help='fine-tune with these seeds; each chooses other labels (default: 0 1 2)',
    )
    parser.add_argument(
        '--out',
        type=Path,
        default=ROOT / 'work_dirs' / 'quickstart_image',
        help='output folder (default: work_dirs/quickstart_image)',
    )
    return parser.parse_args(arguments)


def write_images(folder: Path) -> None:
    """Write the digits as FOLDER/train/3/0012.png and FOLDER/val/..., 16 x 16 pixels."""
    import cv2
    import numpy as np
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.RandomState(0).permutation(len(digits.target))
    for rank, index in enumerate(order):
        split = 'val' if rank < HELD_OUT else 'train'
        place = folder / split / str(digits.target[index])
        place.mkdir(parents=True, exist_ok=True)
        pixels = np.round(digits.images[index] * (255 / 16)).astype(np.uint8)
        pixels = cv2.resize(pixels, (16, 16), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(place / f'{index:04}.png'), pixels)


def train(
    out: Path, name: str, config: str, checkpoint: str, options: Sequence[str], seed: int = 0
) -> Step:
    """The step that trains a config in OUT/NAME; resumes if it was interrupted."""
    command = [str(ROOT / 'tools' / 'train.py'), str(CONFIGS / config), '--resume']
    command += ['--work-dir', str(out / name), '--seed', str(seed), '--cfg-options']
    command += [f'train_dataloader.dataset.data_root={out}/images/train', *options]
    return Step(name, command, out / name / checkpoint)


def pretrain(out: Path) -> list[Step]:
    """The steps that train the teacher and then the student."""
    teacher = train(out, 'teacher', 'quickstart_image_teacher.py', PRETRAINED, [])
    option = f'model.teacher.checkpoint={teacher.output}'
    return [teacher, train(out, 'student', 'quickstart_image_tinymim.py', PRETRAINED, [option])]


def finetune(out: Path, start: str, seed: int) -> Step:
    """The step that fine-tunes from ``scratch`` or from ``tinymim``."""
    options = [
        f'val_dataloader.dataset.data_root={out}/images/val',
        f'train_dataloader.dataset.subset_seed={seed}',
    ]
    if start == 'tinymim':
        options.append(f'model.backbone.pretrained={out}/student/{PRETRAINED}')
    name = f'{start}-{seed}'
    return train(out, name, 'quickstart_image_finetune.py', FINETUNED, options, seed)


def accuracy(folder: Path) -> float:
    """Top-1 accuracy of a fine-tuned model, in per cent."""
    newest = sorted(folder.glob('*/vis_data/scalars.json'))[-1]
    lines = map(json.loads, newest.read_text().splitlines())
    return [line['accuracy/top1'] for line in lines if 'accuracy/top1' in line][-1]


def table(scores: dict[str, list[float]], seeds: Sequence[int]) -> str:
    """The scores as a Markdown table."""
    lines = [
        '| 3 labels per class | ' + ' | '.join(f'seed {seed}' for seed in seeds) + ' | mean |',
        '|---|' + '---|' * (len(seeds) + 1),
    ]
    for start, caption in CAPTIONS.items():
        cells = [*scores[start], statistics.mean(scores[start])]
        lines.append(f'| {caption} | ' + ' | '.join(f'{value:.1f}' for value in cells) + ' |')
    note = f'Top-1 accuracy on {HELD_OUT} held-out digits in %; chance is 10.'
    return '\n'.join([*lines, '', note, ''])


def run(out: Path, seeds: Sequence[int]) -> str:
    """Run everything that is not finished; returns the table."""
    if not (out / 'images').exists():
        write_images(out / 'images')
    tuned, scratch = ([finetune(out, s, seed) for seed in seeds] for s in ('tinymim', 'scratch'))
    Runner().run([pretrain(out), scratch], [[step] for step in tuned])
    scores = {start: [accuracy(out / f'{start}-{seed}') for seed in seeds] for start in CAPTIONS}
    text = table(scores, seeds)
    (out / 'results.md').write_text(text)
    return text


def main(arguments: list[str] | None = None) -> None:
    """Run everything and show the table."""
    args = parse_args(arguments)
    ensure_installed()
    started = time.monotonic()
    try:
        text = run(args.out.resolve(), args.seeds)
    except StepError as error:
        sys.exit(f'\ndigits.py: {error}')
    except KeyboardInterrupt:
        sys.exit('\ndigits.py: interrupted; the same command continues')
    print(f'\n{text}\nTook {time.monotonic() - started:.0f} s.')


if __name__ == '__main__':
    main()
