"""Draw and probe the models of the quickstart.

    python tools/quickstart/report.py OUT --teacher FILE --seeds 0 1 2

reads the runs below OUT and writes OUT/report. With --wait-for NAME, runs may still be training:
the report does what it can and waits for the checkpoint NAME of each.
"""

import argparse
import base64
import html
import json
import logging
import os
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import _venv  # noqa: F401, first: finds the packages
import amd_mm  # noqa: F401, its import-time fixes come first
import cv2
import numpy as np
import torch
import torch.nn.functional as F
from amd_mm.apis import Encoder, load_encoder, load_model, normalisation_of
from amd_mm.datasets import open_video
from amd_mm.evaluation.probes import linear_probe, nearest_neighbours
from amd_mm.registry import DATASETS, MODELS
from amd_mm.visualization import draw_training_curves, save_figure, styled
from amd_mm.visualization.plots import COLOURS
from amd_mm.visualization.reconstruction import draw_reconstruction, reconstruct
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from mmengine.config import Config
from motion_videos import MOTIONS, NUM_FRAMES
from torch import Tensor

CONFIGS = Path(__file__).resolve().parents[2] / 'configs' / 'quickstart'
RANDOM, VIDEOMAE, AMD, TEACHER = 'random', 'student-videomae', 'student-amd', 'teacher'
CAPTIONS = {
    RANDOM: 'student, random weights',
    VIDEOMAE: 'student, VideoMAE alone',
    AMD: 'student, AMD',
    TEACHER: 'teacher',
}
BARS = {RANDOM: '.7', VIDEOMAE: COLOURS[0], AMD: COLOURS[1], TEACHER: COLOURS[2]}
PROBES = dict(linear='linear probe', neighbours='nearest neighbours')
PENALTIES = (1e-4, 1e-3, 1e-2)  # of the linear probe; smaller ones are never the best here
NEIGHBOURS = 5
FRAMES = 8  # of a clip
SHOWN = (8, 28, 38)  # held-out clips in the pictures: left, clockwise, grow
PICTURES = {
    'accuracies.png': 'What the frozen features know about the motion',
    'retrieval.png': 'The five nearest held-out clips',
    'losses.png': 'Losses of pre-training',
    'reconstruction.png': "What AMD's student sees and reconstructs",
    'features.png': "The teacher's features, as far as the students know them",
}

Scores = dict[str, dict[str, list[float]]]
"""Accuracies from 0 to 1: model, then probe, then one value for each seed."""

Clips = tuple[Tensor, Tensor]
"""Clips (N, C, T, H, W), uint8, and their labels (N,)."""

Probed = dict[str, Any]
"""Accuracy of each probe, and under ``nearest`` the five clips next to each held-out one."""


# ---------------------------------------------------------------- models and clips


def random_student(folder: Path, seed: int) -> Encoder:
    """The student of a run with random weights."""
    cfg = Config.fromfile(next(folder.glob('*.py')))
    torch.manual_seed(seed)
    model = MODELS.build(cfg.model)
    model.init_weights()
    return Encoder(model.backbone, **normalisation_of(cfg.model, images=False))


def load(name: str, out: Path, seed: int, teacher: Path) -> Encoder:
    """A student of a seed, or the teacher."""
    runs = out / f'seed{seed}'
    if name == RANDOM:
        return random_student(runs / VIDEOMAE, seed)
    if name == TEACHER:
        return load_encoder((CONFIGS / 'quickstart_videomae_teacher.py', teacher))
    return load_encoder(runs / name)


def labelled_videos(videos: Path, list_file: str) -> torch.utils.data.Dataset:
    """The middle of every video of a list, whole, as fine-tuned models are tested."""
    cfg = Config.fromfile(CONFIGS / 'quickstart_finetune.py').test_dataloader.dataset
    return DATASETS.build(dict(cfg, data_root=str(videos), ann_file=list_file))


def read_clips(videos: Path, name: str) -> Clips:
    """The clips of a list, and their labels. They are kept beside the videos."""
    file = videos / f'{name}.pt'
    if not file.exists():
        dataset = labelled_videos(videos, f'{name}.txt')
        samples = [dataset[index] for index in range(len(dataset))]
        labels = torch.tensor([int(sample['data_samples'].gt_label) for sample in samples])
        part = file.with_suffix(f'.part{os.getpid()}')
        torch.save((torch.cat([sample['inputs'] for sample in samples]), labels), part)
        part.replace(file)
    return torch.load(file)


def features_of(encoder: Encoder, clips: Tensor) -> Tensor:
    """(N, C)."""
    return torch.cat([encoder.encode(part) for part in clips.split(128)])


# ---------------------------------------------------------------- numbers


def whitening(features: Tensor) -> tuple[Tensor, Tensor]:
    """The mean (C,) of (N, C), and a matrix (C, C) after which no direction varies most.

    Without it, the colours of a clip decide what is near. Directions that hardly vary stay small.
    """
    mean = features.mean(0)
    _, scales, directions = torch.linalg.svd(features - mean, full_matrices=False)
    return mean, directions.T / (scales + 0.01 * scales[0])


def five_nearest(features: Tensor) -> Tensor:
    """For each of (N, C), the numbers of the others with the most similar direction: (N, 5)."""
    similar = F.normalize(features, dim=1)
    similar = similar @ similar.T  # -> (N, N), cosines
    return similar.fill_diagonal_(-1).topk(NEIGHBOURS).indices


def probe(model: Encoder, train: Clips, heldout: Clips) -> Probed:
    """Probe a model."""
    fit, test = (features_of(model, clips) for clips, _ in (train, heldout))
    mean, matrix = whitening(fit)
    fit, test = ((features - mean) @ matrix for features in (fit, test))
    pairs = (fit, train[1]), (test, heldout[1])
    return dict(
        linear=linear_probe(*pairs, PENALTIES).accuracy,
        neighbours=nearest_neighbours(*pairs).accuracy,
        nearest=five_nearest(test).tolist(),
    )


def wait_for(run: Path, checkpoint: str) -> None:
    """Wait until a training, which is another process, has saved its last checkpoint."""
    newest = run / 'last_checkpoint'
    while not (newest.exists() and newest.read_text().endswith(checkpoint)):
        time.sleep(0.5)


def probe_all(
    out: Path, seeds: Sequence[int], teacher: Path, clips: Sequence[Clips], checkpoint: str | None
) -> dict[int, dict[str, Probed]]:
    """Probe the models of all seeds, in the order in which they are ready."""
    jobs = [(seed, name) for seed in seeds for name in (RANDOM, TEACHER, VIDEOMAE, AMD)]
    probed: dict[int, dict[str, Probed]] = {seed: {} for seed in seeds}
    for number, (seed, name) in enumerate(jobs):
        print(f'{CAPTIONS[name]}: {30 + 40 * number // len(jobs)} %', flush=True)
        if checkpoint and name in (VIDEOMAE, AMD):
            wait_for(out / f'seed{seed}' / name, checkpoint)
        probed[seed][name] = probe(load(name, out, seed, teacher), *clips)
    return probed


def mean_and_deviation(values: Sequence[float]) -> str:
    """In per cent."""
    text = f'{100 * statistics.mean(values):.1f}'
    return text if len(values) == 1 else f'{text} ± {100 * statistics.stdev(values):.1f}'


def table(scores: Scores) -> str:
    """The scores as an aligned Markdown table, and a note."""
    rows = [['', *PROBES.values()]]
    for name, caption in CAPTIONS.items():
        rows.append([caption, *(mean_and_deviation(scores[name][probe]) for probe in PROBES)])
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = [
        '| ' + ' | '.join(cell.ljust(width) for cell, width in zip(row, widths)) + ' |'
        for row in rows
    ]
    lines.insert(1, '|' + '|'.join('-' * (width + 2) for width in widths) + '|')
    lines += ['', f'Per cent of held-out videos; chance is {100 / len(MOTIONS):.1f}.']
    lines.append('Nearest neighbours: a vote of the 20 most similar training videos.')
    for probe, title in PROBES.items():
        pairs = list(zip(scores[AMD][probe], scores[VIDEOMAE][probe]))
        if len(pairs) > 1:
            gains = ', '.join(f'{100 * (amd - alone):+.1f}' for amd, alone in pairs)
            lines.append(f'AMD minus VideoMAE alone, {title}, for each seed: {gains}.')
    return '\n'.join([*lines, ''])


# ---------------------------------------------------------------- pictures


@styled
def draw_scores(scores: Scores, path: Path) -> None:
    """Draw a bar for each mean and a dot for each seed."""
    figure = Figure(figsize=(9, 3.8))
    panels = figure.subplots(1, len(PROBES), sharey=True)
    names = [caption.replace(', ', '\n').replace(' ', '\n', 1) for caption in CAPTIONS.values()]
    for panel, (probe, title) in zip(panels, PROBES.items()):
        for index, name in enumerate(CAPTIONS):
            values = [100 * value for value in scores[name][probe]]
            mean = statistics.mean(values)
            panel.bar(index, mean, width=0.7, color=BARS[name])
            if len(values) > 1:
                panel.plot([index] * len(values), values, '.', color='.2')
            panel.text(index, max(values) + 1.5, f'{mean:.1f}', ha='center', fontsize=9)
        panel.axhline(100 / len(MOTIONS), color='.4', linestyle=':', linewidth=1)
        panel.set_xticks(range(len(CAPTIONS)), names)
        panel.set(title=title, ylim=(0, 108))
        panel.grid(axis='x', visible=False)
    panels[0].set_ylabel('per cent of held-out videos')
    figure.suptitle('Dotted: chance. Dots: seeds.', fontsize=9, color='.3')
    save_figure(figure, path)


def trail(video: str) -> np.ndarray:
    """The middle clip of a video in one picture (H, W, 3): the earlier a frame, the darker."""
    with open_video(video) as reader:
        start = (NUM_FRAMES - FRAMES) // 2
        frames = np.stack(reader.read(range(start, start + FRAMES)))[1::2]
    light = np.linspace(0.25, 1, len(frames))[:, None, None, None]
    return (frames * light).max(0).astype(np.uint8)


def framed_trail(videos: torch.utils.data.Dataset, index: int, colour: str) -> np.ndarray:
    """The trail of a video inside a coloured frame with a white margin, (H, W, 3)."""
    picture = trail(videos.get_data_info(index)['filename'])
    for width, value in ((2, to_rgb(colour)), (3, (1, 1, 1))):
        value = [255 * part for part in value]
        picture = cv2.copyMakeBorder(picture, *[width] * 4, cv2.BORDER_CONSTANT, value=value)
    return picture


def show_rows(axes: Axes, rows: Sequence[np.ndarray], captions: Sequence[str] = ()) -> None:
    """Show pictures of one size as rows, with captions on the left."""
    height = len(rows[0])
    axes.imshow(np.concatenate(rows), interpolation='nearest')
    axes.set_xticks([])
    axes.set_yticks([(row + 0.5) * height for row in range(len(captions))], captions)
    axes.tick_params(length=0, labelsize=9)
    axes.spines[:].set_visible(False)
    axes.grid(False)


@styled
def draw_retrieval(
    videos: torch.utils.data.Dataset, labels: Tensor, nearest: Mapping[str, Tensor], path: Path
) -> None:
    """Draw the first clip of each motion and the clips that are nearest to it for each model."""
    figure = Figure(figsize=(11.5, 8.3))
    panels = figure.subplots(1, 1 + len(nearest), width_ratios=[1] + [NEIGHBOURS] * len(nearest))
    queries = range(len(MOTIONS))
    show_rows(panels[0], [framed_trail(videos, index, '.6') for index in queries], MOTIONS)
    panels[0].set_title('query')
    for panel, (name, found) in zip(panels[1:], nearest.items()):
        same = labels[found] == labels[:, None]  # (N, 5)
        rows = [
            [
                framed_trail(videos, index, COLOURS[2] if right else COLOURS[1])
                for index, right in zip(found[row].tolist(), same[row])
            ]
            for row in queries
        ]
        show_rows(panel, [np.concatenate(row, 1) for row in rows])
        panel.set_title(f'{CAPTIONS[name]}: {same.float().mean():.0%} right')
    figure.suptitle('The five nearest held-out clips. Green: same motion. Later frames are lighter')
    save_figure(figure, path)


@torch.no_grad()
def dense_tokens(encoder: Encoder, clips: Tensor, step: int = 2) -> Tensor:
    """Tokens at every second pixel: (B, C, T, H, W) -> (B, T', H / 2, W / 2, C).

    The clips are shifted under the grid of patches; a shape that leaves a video enters on the
    opposite side, so shifted clips look like other clips. The mean of each place is subtracted.
    """
    side = encoder.backbone.patch_shape[1]
    rows = []
    for down in range(0, side, step):
        row = []
        for right in range(0, side, step):
            tokens = encoder.encode(clips.roll((-down, -right), (-2, -1)), keep_tokens=True)
            row.append(tokens - tokens.mean(0))  # (B, T', H / side, W / side, C)
        rows.append(torch.stack(row, 4).flatten(3, 4))  # -> (B, T', H / side, W / step, C)
    return torch.stack(rows, 3).flatten(2, 3)


def match_features(
    models: Mapping[str, Encoder], clips: Tensor, shown: int
) -> dict[str, tuple[Tensor, float]]:
    """The three principal components of the teacher's tokens, and as the students know them.

    A student's tokens are mapped to these components by least squares on all but the first
    ``shown`` clips.

    Returns:
        Of each model the values of the first clips (shown, T', H', W', 3), and the share of the
        teacher's variance in them that it explains.
    """
    tokens = {name: dense_tokens(model, clips) for name, model in models.items()}
    truth = tokens[TEACHER].flatten(0, -2)  # -> (M, C)
    axes = torch.linalg.eigh(truth.T @ truth).eigenvectors[:, -3:]  # -> (C, 3)
    target = tokens[TEACHER] @ axes  # -> (B, T', H', W', 3)
    matched = {}
    for name, found in tokens.items():
        inputs, outputs = (part[shown:].flatten(0, -2) for part in (found, target))
        gram = inputs.T @ inputs  # -> (C, C)
        gram.diagonal().add_(1e-4 * gram.diagonal().mean())  # a norm leaves C - 1 dimensions
        values = found[:shown] @ torch.linalg.solve(gram, inputs.T @ outputs)
        error = (values - target[:shown]).square().sum() / target[:shown].square().sum()
        matched[name] = (values, 1 - float(error))
    return matched


@styled
def draw_features(
    clips: Tensor, matched: Mapping[str, tuple[Tensor, float]], names: Sequence[str], path: Path
) -> None:
    """Draw what :func:`match_features` returns as colours, below the clips (B, C, T, H, W)."""
    order = [TEACHER, AMD, VIDEOMAE]
    truth = matched[TEACHER][0].flatten(0, -2)
    low, high = truth.quantile(0.02, 0), truth.quantile(0.98, 0)
    rows = {'clip': clips.permute(0, 2, 3, 4, 1)[:, ::2] / 255}
    side = rows['clip'].shape[2]
    for name in order:
        values, share = matched[name]
        caption = CAPTIONS[name].replace(', ', '\n')
        if name != TEACHER:
            caption += f'\n{share:.0%} of variance'
        scale = side // values.shape[2]
        values = ((values - low) / (high - low)).clamp(0, 1)
        rows[caption] = values.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    figure = Figure(figsize=(10.4, 0.7 + 0.75 * len(rows)))
    for number, (panel, name) in enumerate(zip(figure.subplots(1, len(names)), names)):
        # -> (T, H + 4, W + 4, 3) with white margins, then (H + 4, T * (W + 4), 3)
        parts = [F.pad(row[number], (0, 0, 2, 2, 2, 2), value=1) for row in rows.values()]
        pictures = [part.transpose(0, 1).flatten(1, 2).numpy() for part in parts]
        show_rows(panel, pictures, [] if number else list(rows))
        panel.set_title(name, color='.3')
    figure.suptitle("Three principal components of the teacher's features, as colours")
    save_figure(figure, path)


def draw_models(
    out: Path, seed: int, teacher: Path, heldout: Clips, probed: Mapping[str, Probed]
) -> None:
    """Draw the pictures of a seed."""
    runs, folder = out / f'seed{seed}', out / 'report'
    draw_training_curves(
        {CAPTIONS[name]: runs / name for name in (VIDEOMAE, AMD)},
        folder / 'losses.png',
        ('loss_rec', 'loss_direct', 'loss_generation'),
        title='Losses of pre-training. Predicting the mean costs 1 in both alignment losses',
    )
    clips, labels = heldout
    shown = list(SHOWN)
    names = [MOTIONS[labels[index]] for index in shown]
    rows = {name: torch.tensor(probed[name]['nearest']) for name in (AMD, VIDEOMAE)}
    videos = labelled_videos(out / 'videos', 'heldout.txt')
    draw_retrieval(videos, labels, rows, folder / 'retrieval.png')
    student = load_model(runs / AMD)
    batch = student.data_preprocessor(dict(inputs=list(clips[shown]), data_samples=None))
    draw_reconstruction(
        reconstruct(student, batch['inputs'], seed),
        student.backbone.patch_shape,
        folder / 'reconstruction.png',
        names=names,
        max_frames=4,
        title=PICTURES['reconstruction.png'] + ', held-out clips',
    )
    others = [index for index in range(32) if index not in shown]
    models = {name: load(name, out, seed, teacher) for name in (TEACHER, AMD, VIDEOMAE)}
    matched = match_features(models, clips[shown + others], len(shown))
    draw_features(clips[shown], matched, names, folder / 'features.png')


def write_html(folder: Path, text: str) -> None:
    """Write the table and all pictures into one file."""
    parts = [f'<pre>{html.escape(text)}</pre>']
    for name, title in PICTURES.items():
        picture = base64.b64encode((folder / name).read_bytes()).decode()
        parts.append(f'<h2>{html.escape(title)}</h2>')
        parts.append(f'<img alt="{html.escape(title)}" src="data:image/png;base64,{picture}">')
    style = 'body{font-family:sans-serif;max-width:72em;margin:2em auto}img{max-width:100%}'
    (folder / 'report.html').write_text(
        f'<!doctype html><meta charset="utf-8"><title>amd_mm quickstart</title>'
        f'<style>{style}</style><h1>amd_mm quickstart</h1>\n' + '\n'.join(parts)
    )


def main(arguments: list[str] | None = None) -> None:
    """Read the command line and write OUT/report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('out', type=Path, help="the quickstart's output folder")
    parser.add_argument('--teacher', type=Path, required=True, help='its weights')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0])
    parser.add_argument('--wait-for', metavar='NAME', help='last checkpoint of the runs')
    args = parser.parse_args(arguments)
    folder = args.out / 'report'
    folder.mkdir(exist_ok=True)
    logging.disable(logging.INFO)  # how each model was initialised and loaded
    clips = [read_clips(args.out / 'videos', name) for name in ('train', 'heldout')]
    probed = probe_all(args.out, args.seeds, args.teacher, clips, args.wait_for)
    draw_models(args.out, args.seeds[0], args.teacher, clips[1], probed[args.seeds[0]])
    scores: Scores = {
        name: {kind: [probed[seed][name][kind] for seed in args.seeds] for kind in PROBES}
        for name in CAPTIONS
    }
    write_report(folder, args.seeds, scores)


def write_report(folder: Path, seeds: Sequence[int], scores: Scores) -> None:
    """Write the numbers and the page."""
    draw_scores(scores, folder / 'accuracies.png')
    (folder / 'results.json').write_text(json.dumps(dict(seeds=seeds, accuracy=scores)))
    text = table(scores)
    write_html(folder, text)
    (folder / 'results.md').write_text(text)  # the last file


if __name__ == '__main__':
    main()
