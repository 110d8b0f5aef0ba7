"""Draw and probe the models of the quickstart.

    python tools/quickstart/report.py OUT --seeds 0 1 2

reads the runs below OUT and writes OUT/report.
"""

import argparse
import json
import logging
import statistics
from pathlib import Path

import amd_mm  # noqa: F401, its import-time fixes come first
import torch
from amd_mm.apis import Encoder, load_encoder, load_model, normalisation_of
from amd_mm.evaluation.predictions import read_predictions
from amd_mm.evaluation.probes import linear_probe, nearest_neighbours
from amd_mm.registry import DATASETS, MODELS
from amd_mm.visualization import draw_training_curves, save_figure, styled
from amd_mm.visualization.reconstruction import borrowed_note, draw_reconstruction
from matplotlib.figure import Figure
from mmengine.config import Config
from torch import Tensor

CONFIGS = Path(__file__).resolve().parents[2] / 'configs' / 'quickstart'
STUDENT, TEACHER, AMD = 'student-videomae', 'teacher', 'student-amd'
CAPTIONS = {
    'random': 'student, random weights',
    STUDENT: 'student, VideoMAE alone',
    AMD: 'student, AMD',
    TEACHER: 'teacher, VideoMAE',
}
STARTS = {'random': 'scratch', STUDENT: 'videomae', AMD: 'amd'}  # of fine-tuning
PROBES = {'linear': 'linear probe', 'neighbours': 'nearest neighbours', 'finetuned': 'fine-tuned'}
CLASSES = 8

Scores = dict[str, dict[str, list[float]]]
"""Accuracies from 0 to 1: model, then probe, then one value for each seed."""


def random_student(folder: Path, seed: int) -> Encoder:
    """The student of a run with random weights."""
    cfg = Config.fromfile(next(folder.glob('*.py')))
    torch.manual_seed(seed)
    model = MODELS.build(cfg.model)
    model.init_weights()
    return Encoder(model.backbone, **normalisation_of(cfg.model, images=False))


def labelled_videos(videos: Path, list_file: str) -> torch.utils.data.Dataset:
    """The middle of every video of a list, whole, as fine-tuned models are tested."""
    cfg = Config.fromfile(CONFIGS / 'quickstart_finetune.py').test_dataloader.dataset
    return DATASETS.build(dict(cfg, data_root=str(videos), ann_file=list_file))


def read_clips(dataset: torch.utils.data.Dataset) -> tuple[Tensor, Tensor]:
    """The clips (N, C, T, H, W) of a dataset, uint8, and their labels (N,)."""
    samples = [dataset[index] for index in range(len(dataset))]
    labels = [int(sample['data_samples'].gt_label) for sample in samples]
    return torch.cat([sample['inputs'] for sample in samples]), torch.tensor(labels)


def probe_all(out: Path, seeds: list[int]) -> Scores:
    """Probe every model of every seed."""
    clips = [
        read_clips(labelled_videos(out / 'videos', name)) for name in ('train.txt', 'heldout.txt')
    ]
    scores: Scores = {name: dict(linear=[], neighbours=[]) for name in CAPTIONS}
    for index, seed in enumerate(seeds, start=1):
        runs = out / f'seed{seed}'
        models = {'random': random_student(runs / STUDENT, seed)}
        models.update({name: load_encoder(runs / name) for name in (STUDENT, AMD, TEACHER)})
        for name, model in models.items():
            train, test = (
                (torch.cat([model.encode(part) for part in inputs.split(128)]), labels)
                for inputs, labels in clips
            )
            scores[name]['linear'].append(linear_probe(train, test).accuracy)
            scores[name]['neighbours'].append(nearest_neighbours(train, test).accuracy)
        print(f'probes: {100 * index // len(seeds)} %', flush=True)
    return scores


def add_finetuned(scores: Scores, out: Path, seeds: list[int]) -> None:
    """Add the accuracies after fine-tuning."""
    for name, start in STARTS.items():
        tests = [
            read_predictions(out / f'seed{seed}' / f'test-{start}' / 'predictions.pkl')
            for seed in seeds
        ]
        accuracies = [float((test.predicted == test.labels).mean()) for test in tests]
        scores[name]['finetuned'] = accuracies


def mean_and_deviation(values: list[float]) -> str:
    """In per cent."""
    text = f'{100 * statistics.mean(values):.1f}'
    return text if len(values) == 1 else f'{text} ± {100 * statistics.stdev(values):.1f}'


def probes_in(scores: Scores) -> dict[str, str]:
    """The probes that were made, with their titles."""
    return {probe: title for probe, title in PROBES.items() if probe in scores[AMD]}


def table(scores: Scores) -> str:
    """The scores as an aligned Markdown table, and a note."""
    probes = probes_in(scores)
    rows = [['', *probes.values()]]
    for name, caption in CAPTIONS.items():
        values = (scores[name].get(probe) for probe in probes)
        rows.append([caption, *(mean_and_deviation(v) if v else '-' for v in values)])
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = [
        '| ' + ' | '.join(cell.ljust(width) for cell, width in zip(row, widths)) + ' |'
        for row in rows
    ]
    lines.insert(1, '|' + '|'.join('-' * (width + 2) for width in widths) + '|')
    note = f'Accuracy on held-out videos in %; chance is {100 / CLASSES:.1f}.'
    for probe, title in probes.items():
        pairs = list(zip(scores[AMD][probe], scores[STUDENT][probe]))
        if len(pairs) > 1:
            gains = ', '.join(f'{100 * (mine - alone):+.1f}' for mine, alone in pairs)
            note += f'\nAMD minus VideoMAE alone, {title}, for each seed: {gains}.'
    return '\n'.join([*lines, '', note, ''])


@styled
def draw_scores(scores: Scores, path: Path) -> None:
    """Draw a bar for each mean and a dot for each seed."""
    figure, probes = Figure(figsize=(10, 4.4)), probes_in(scores)
    panels = figure.subplots(1, len(probes), sharey=True)
    for panel, (probe, title) in zip(panels, probes.items()):
        for index, name in enumerate(CAPTIONS):
            values = [100 * value for value in scores[name].get(probe, [])]
            if values:
                panel.bar(index, statistics.mean(values), color=f'C{index}')
                panel.plot([index] * len(values), values, 'k.')
        panel.axhline(100 / CLASSES, color='grey', linestyle=':')
        captions = [text.replace(',', '').replace(' ', '\n') for text in CAPTIONS.values()]
        panel.set_xticks(range(len(CAPTIONS)), captions, fontsize=7)
        panel.set(title=title, xlim=(-0.6, len(CAPTIONS) - 0.4), ylim=(0, 100))
    panels[0].set_ylabel('accuracy on held-out videos, %')
    figure.suptitle('Dotted: chance. Black dots: seeds.')
    save_figure(figure, path)


def draw_models(out: Path, seed: int) -> None:
    """Draw the loss curves and the reconstructions of a seed."""
    runs, folder = out / f'seed{seed}', out / 'report'
    draw_training_curves(
        {CAPTIONS[name]: runs / name for name in (TEACHER, STUDENT, AMD)},
        folder / 'losses.png',
        ('loss_rec', 'loss_direct', 'loss_generation'),
        title='Losses of pre-training',
    )
    student, videos = load_model(runs / AMD), labelled_videos(out / 'videos', 'heldout.txt')
    chosen = {8: 'moving left', 20: 'turning clockwise', 14: 'growing'}
    batch = student.data_preprocessor(
        dict(inputs=[videos[index]['inputs'] for index in chosen], data_samples=None)
    )
    torch.manual_seed(seed)
    draw_reconstruction(
        student.reconstruct(batch['inputs']),
        student.backbone.patch_shape,
        folder / 'reconstruction.png',
        names=list(chosen.values()),
        note=borrowed_note(student),
        title="AMD's student on held-out clips",
    )


def main(arguments: list[str] | None = None) -> None:
    """Read the command line and write OUT/report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('out', type=Path, help="the quickstart's output folder")
    parser.add_argument('--seeds', type=int, nargs='+', default=[0])
    parser.add_argument('--fine-tuned', action='store_true', help='include fine-tuning')
    args = parser.parse_args(arguments)
    folder = args.out / 'report'
    folder.mkdir(exist_ok=True)
    logging.disable(logging.INFO)  # how each model was initialised and loaded
    draw_models(args.out, args.seeds[0])
    scores = probe_all(args.out, args.seeds)
    if args.fine_tuned:
        add_finetuned(scores, args.out, args.seeds)
    draw_scores(scores, folder / 'accuracies.png')
    (folder / 'results.json').write_text(json.dumps(dict(seeds=args.seeds, accuracy=scores)))
    (folder / 'results.md').write_text(table(scores))


if __name__ == '__main__':
    main()
