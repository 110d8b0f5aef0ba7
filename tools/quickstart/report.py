"""What came out of the quickstart: curves, pictures, probes, fine-tuning.

    python tools/quickstart/report.py OUT --seeds 0 1 2

reads the runs below OUT and writes OUT/report.
"""

import argparse
import json
import statistics
from pathlib import Path

import amd_mm  # noqa: F401, its import-time fixes serve what follows
import torch
from amd_mm.checkpoints import load_into
from amd_mm.evaluation.clip_encoder import ClipSampling
from amd_mm.evaluation.linear_probe import (
    LabelledFeatures,
    extract_features,
    linear_probe,
    load_labelled_clips,
    nearest_neighbours,
)
from amd_mm.evaluation.predictions import read_predictions
from amd_mm.registry import DATASETS, MODELS
from amd_mm.utils.quiet import warnings_only
from amd_mm.visualization import draw_loss_curves, draw_reconstruction
from amd_mm.visualization.loss_curves import save_figure
from matplotlib.figure import Figure
from mmengine.config import Config
from torch import nn

STUDENT, TEACHER, AMD = 'student-videomae', 'teacher', 'student-amd'
CAPTIONS = {
    'random': 'student, random weights',
    STUDENT: 'student, VideoMAE alone',
    AMD: 'student, AMD',
    TEACHER: 'teacher, VideoMAE',
}
# Model -> start of its fine-tuning. The teacher is not fine-tuned.
STARTS = {'random': 'scratch', STUDENT: 'videomae', AMD: 'amd'}
PROBES = {'linear': 'linear probe', 'neighbours': 'nearest neighbours', 'finetuned': 'fine-tuned'}
Scores = dict[str, dict[str, list[float]]]


def load_run(folder: Path) -> nn.Module:
    """Build the model of a run and load its last checkpoint."""
    cfg = Config.fromfile(next(folder.glob('*.py')))
    model = MODELS.build(cfg.model)
    name = Path((folder / 'last_checkpoint').read_text().strip()).name
    load_into(model, folder / name)  # the folder may have been moved
    return model.eval()


def random_student(folder: Path, seed: int) -> nn.Module:
    """The student of a run as it was at the beginning of one."""
    cfg = Config.fromfile(next(folder.glob('*.py')))
    torch.manual_seed(seed)
    model = MODELS.build(cfg.model)
    model.init_weights()
    return model


def probe_pipeline(side: int = 32, frames: int = 8) -> list[dict]:
    """The middle of a video, whole."""
    pipeline = ClipSampling(frames, stride=1, size=side).pipeline('pyav')
    pipeline[0]['min_frames'] = frames
    return pipeline


def labelled_videos(videos: Path, name: str) -> torch.utils.data.Dataset:
    """The videos of ``train.txt`` or ``heldout.txt``."""
    return DATASETS.build(
        dict(
            type='amd_mm.VideoListDataset',
            data_root=str(videos),
            ann_file=f'{name}.txt',
            data_prefix=dict(video=''),
            test_mode=True,
            pipeline=probe_pipeline(),
        )
    )


def probe_all(out: Path, seeds: list[int]) -> Scores:
    """Probe every model of every seed: model -> probe -> one value a seed."""
    clips = {
        name: load_labelled_clips(labelled_videos(out / 'videos', name))
        for name in ('train', 'heldout')
    }
    scores: Scores = {name: dict(linear=[], neighbours=[]) for name in CAPTIONS}
    for seed in seeds:
        runs = out / f'seed{seed}'
        models = {'random': random_student(runs / STUDENT, seed)}
        for name in (STUDENT, AMD, TEACHER):
            models[name] = load_run(runs / name)
        for name, model in models.items():
            train, test = (
                LabelledFeatures(extract_features(model, inputs), labels)
                for inputs, labels in clips.values()
            )
            scores[name]['linear'].append(linear_probe(train, test).accuracy)
            scores[name]['neighbours'].append(nearest_neighbours(train, test).accuracy)
        done = 100 * (seeds.index(seed) + 1) // len(seeds)
        print(f'probes: {done} %', flush=True)
    return scores


def read_finetuned(out: Path, seeds: list[int]) -> dict[str, list[float]]:
    """Accuracy after fine-tuning: model -> one value a seed."""
    found: dict[str, list[float]] = {}
    for name, start in STARTS.items():
        found[name] = []
        for seed in seeds:
            path = out / f'seed{seed}' / f'test-{start}' / 'predictions.pkl'
            test = read_predictions(path)
            found[name].append(float((test.predicted == test.labels).mean()))
    return found


def labels_a_class(out: Path, seed: int) -> int:
    """How many labelled videos of each class fine-tuning had."""
    config = next((out / f'seed{seed}' / 'finetune-scratch').glob('*.py'))
    return Config.fromfile(config).train_dataloader.dataset.clips_per_class


def spread(values: list[float]) -> str:
    """Mean and standard deviation in per cent."""
    text = f'{100 * statistics.mean(values):.1f}'
    if len(values) > 1:
        text += f' ± {100 * statistics.stdev(values):.1f}'
    return text


def probes_of(scores: Scores) -> dict[str, str]:
    """Those of ``PROBES`` that some model has a score of."""
    return {
        probe: title
        for probe, title in PROBES.items()
        if any(probe in values for values in scores.values())
    }


def table(scores: Scores, seeds: list[int], classes: int, labels: int | None = None) -> str:
    """The scores as a table that is readable as it is and as Markdown.

    Args:
        scores (Scores): Model -> probe -> one value a seed, from 0 to 1.
        seeds (List[int]): Which they are.
        classes (int): How many.
        labels (int, optional): Of each class, for fine-tuning if there was
            any.
    """
    probes = probes_of(scores)
    rows = [('', *probes.values())]
    rows += [
        (
            caption,
            *(spread(scores[name][probe]) if probe in scores[name] else '-' for probe in probes),
        )
        for name, caption in CAPTIONS.items()
    ]
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = [
        '| ' + ' | '.join(cell.ljust(width) for cell, width in zip(row, widths)) + ' |'
        for row in rows
    ]
    lines.insert(1, '|' + '|'.join('-' * (width + 2) for width in widths) + '|')
    note = (
        f'Held-out videos, % right; chance is {100 / classes:.1f}. Probe '
        'and neighbours: frozen features, all training videos labelled.'
    )
    if 'finetuned' in probes:
        note += f' Fine-tuned: all weights, {labels} labelled videos of each class.'
    if len(seeds) > 1:
        note += f' Mean and standard deviation of {len(seeds)} seeds.'
        for probe in (one for one in ('linear', 'finetuned') if one in probes):
            gains = ', '.join(
                f'{100 * (mine - alone):+.1f}'
                for mine, alone in zip(scores[AMD][probe], scores[STUDENT][probe])
            )
            note += f' AMD over VideoMAE alone, {PROBES[probe]}, by seed: {gains}.'
    return '\n'.join(lines) + '\n\n' + note + '\n'


def draw_scores(scores: Scores, path: Path, classes: int) -> Path:
    """Draw the table: a bar for each mean, a dot for each seed.

    Args:
        scores (Scores): Model -> probe -> one value a seed, from 0 to 1.
        path (Path): The picture to write.
        classes (int): How many; a line shows chance.

    Returns:
        Path: The picture.
    """
    figure = Figure(figsize=(10, 4.4), layout='constrained')
    probes = probes_of(scores)
    panels = figure.subplots(1, len(probes), sharey=True)
    for panel, (probe, title) in zip(panels, probes.items()):
        for index, name in enumerate(CAPTIONS):
            values = [100 * value for value in scores[name].get(probe, [])]
            if not values:
                continue
            panel.bar(index, statistics.mean(values), color=f'C{index}')
            panel.plot([index] * len(values), values, 'k.')
        panel.axhline(100 / classes, color='grey', linestyle=':')
        panel.set_xticks(
            range(len(CAPTIONS)),
            [caption.replace(',', '').replace(' ', '\n') for caption in CAPTIONS.values()],
            fontsize=7,
        )
        panel.set_title(title, fontsize=10)
        panel.set_xlim(-0.6, len(CAPTIONS) - 0.4)
        panel.set_ylim(0, 100)
    panels[0].set_ylabel('held-out videos, % right')
    figure.suptitle('Dotted: chance. Black dots: seeds.', fontsize=10)
    return save_figure(figure, path)


def draw(out: Path, seed: int, folder: Path) -> None:
    """The curves and the reconstructions of one seed."""
    runs = out / f'seed{seed}'
    draw_loss_curves(
        {CAPTIONS[name]: runs / name for name in (TEACHER, STUDENT, AMD)}, folder / 'losses.png'
    )
    student = load_run(runs / AMD)
    videos = labelled_videos(out / 'videos', 'heldout')
    # One of left, clockwise and grow.
    chosen = [videos[8], videos[20], videos[14]]
    batch = student.data_preprocessor(
        dict(inputs=[sample['inputs'] for sample in chosen], data_samples=None)
    )
    torch.manual_seed(seed)
    draw_reconstruction(
        student.reconstruct(batch['inputs']),
        student.backbone.patch_shape,
        folder / 'reconstruction.png',
        names=['moving left', 'turning clockwise', 'growing'],
        borrows_statistics=student.head.target_type != 'pixels',
        title="AMD's student on held-out clips",
    )


def main(arguments: list[str] | None = None) -> None:
    """Read the command line, draw, probe."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('out', type=Path, help='where the quickstart wrote')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0])
    parser.add_argument('--fine-tuned', action='store_true', help='show fine-tuning as well')
    args = parser.parse_args(arguments)
    with warnings_only():
        write_report(args.out, args.seeds, args.fine_tuned)


def write_report(out: Path, seeds: list[int], fine_tuned: bool) -> None:
    """Write OUT/report: the pictures, results.json and results.md."""
    folder = out / 'report'
    folder.mkdir(exist_ok=True)
    draw(out, seeds[0], folder)
    scores = probe_all(out, seeds)
    labels = None
    if fine_tuned:
        for name, values in read_finetuned(out, seeds).items():
            scores[name]['finetuned'] = values
        labels = labels_a_class(out, seeds[0])
    (folder / 'results.json').write_text(json.dumps(dict(seeds=seeds, accuracy=scores), indent=2))
    (folder / 'results.md').write_text(table(scores, seeds, classes=8, labels=labels))
    draw_scores(scores, folder / 'accuracies.png', classes=8)


if __name__ == '__main__':
    main()
