"""What came out of the quickstart: curves, pictures, and a table of probes.

    python tools/quickstart/report.py OUT --seeds 0 1 2

reads the runs below OUT and writes OUT/report.
"""
import argparse
import json
import logging
import statistics
from pathlib import Path
from typing import Dict, List, Optional

import torch
from mmengine.config import Config
from torch import nn

import amd_mm  # noqa: F401, its import-time fixes serve what follows
from amd_mm.checkpoints import load_into
from amd_mm.evaluation.linear_probe import (LabelledFeatures, extract_features,
                                            linear_probe, load_labelled_clips,
                                            nearest_neighbours)
from amd_mm.registry import DATASETS, MODELS
from amd_mm.visualization import draw_loss_curves, draw_reconstruction

STUDENT, TEACHER, AMD = 'student-videomae', 'teacher', 'student-amd'
CAPTIONS = {
    'random': 'student, random weights',
    STUDENT: 'student, VideoMAE alone',
    AMD: 'student, AMD',
    TEACHER: 'teacher, VideoMAE'
}
Scores = Dict[str, Dict[str, List[float]]]


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


def probe_pipeline(side: int = 32, frames: int = 8) -> List[dict]:
    """The middle of a video, whole."""
    return [
        dict(type='amd_mm.VideoInit', min_frames=frames),
        dict(
            type='mmaction.SampleFrames',
            clip_len=frames,
            frame_interval=1,
            num_clips=1,
            test_mode=True),
        dict(type='amd_mm.VideoDecode'),
        dict(type='mmaction.Resize', scale=(-1, side)),
        dict(type='mmaction.CenterCrop', crop_size=side),
        dict(type='mmaction.FormatShape', input_format='NCTHW'),
        dict(type='mmaction.PackActionInputs')
    ]


def labelled_videos(videos: Path, name: str) -> torch.utils.data.Dataset:
    """The videos of ``train.txt`` or ``heldout.txt``."""
    return DATASETS.build(
        dict(
            type='amd_mm.VideoListDataset',
            data_root=str(videos),
            ann_file=f'{name}.txt',
            data_prefix=dict(video=''),
            test_mode=True,
            pipeline=probe_pipeline()))


def probe_all(out: Path, seeds: List[int]) -> Scores:
    """Probe every model of every seed: model -> probe -> one value a seed."""
    clips = {
        name: load_labelled_clips(labelled_videos(out / 'videos', name))
        for name in ('train', 'heldout')
    }
    scores: Scores = {
        name: dict(linear=[], neighbours=[])
        for name in CAPTIONS
    }
    for seed in seeds:
        runs = out / f'seed{seed}'
        models = {'random': random_student(runs / STUDENT, seed)}
        for name in (STUDENT, AMD, TEACHER):
            models[name] = load_run(runs / name)
        for name, model in models.items():
            train, test = (LabelledFeatures(
                extract_features(model, inputs), labels)
                           for inputs, labels in clips.values())
            scores[name]['linear'].append(linear_probe(train, test).accuracy)
            scores[name]['neighbours'].append(
                nearest_neighbours(train, test).accuracy)
        done = 100 * (seeds.index(seed) + 1) // len(seeds)
        print(f'probes: {done} %', flush=True)
    return scores


def spread(values: List[float]) -> str:
    """Mean and standard deviation in per cent."""
    text = f'{100 * statistics.mean(values):.1f}'
    if len(values) > 1:
        text += f' ± {100 * statistics.stdev(values):.1f}'
    return text


def table(scores: Scores, seeds: List[int], classes: int) -> str:
    """The scores as a table that is readable as it is and as Markdown."""
    rows = [('frozen features of', 'linear probe', 'nearest neighbours')]
    rows += [(caption, spread(scores[name]['linear']),
              spread(scores[name]['neighbours']))
             for name, caption in CAPTIONS.items()]
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = [
        '| ' +
        ' | '.join(cell.ljust(width)
                   for cell, width in zip(row, widths)) + ' |' for row in rows
    ]
    lines.insert(1,
                 '|' + '|'.join('-' * (width + 2) for width in widths) + '|')
    note = f'Held-out videos, % right; chance is {100 / classes:.1f}.'
    if len(seeds) > 1:
        note += f' Mean and standard deviation of {len(seeds)} seeds.'
        gains = [
            100 * (mine - alone) for mine, alone in zip(
                scores[AMD]['linear'], scores[STUDENT]['linear'])
        ]
        note += (' AMD over VideoMAE alone, linear, by seed: ' +
                 ', '.join(f'{gain:+.1f}' for gain in gains) + '.')
    return '\n'.join(lines) + '\n\n' + note + '\n'


def draw(out: Path, seed: int, folder: Path) -> None:
    """The curves and the reconstructions of one seed."""
    runs = out / f'seed{seed}'
    draw_loss_curves(
        {CAPTIONS[name]: runs / name
         for name in (TEACHER, STUDENT, AMD)}, folder / 'losses.png')
    student = load_run(runs / AMD)
    videos = labelled_videos(out / 'videos', 'heldout')
    # One of left, clockwise and grow.
    chosen = [videos[8], videos[20], videos[14]]
    batch = student.data_preprocessor(
        dict(
            inputs=[sample['inputs'] for sample in chosen], data_samples=None))
    torch.manual_seed(seed)
    draw_reconstruction(
        student.reconstruct(batch['inputs']),
        student.backbone.patch_shape,
        folder / 'reconstruction.png',
        names=['moving left', 'turning clockwise', 'growing'],
        borrows_statistics=student.head.target_type != 'pixels',
        title='AMD\'s student on held-out clips')


def main(arguments: Optional[List[str]] = None) -> None:
    """Read the command line, draw, probe."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('out', type=Path, help='where the quickstart wrote')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0])
    args = parser.parse_args(arguments)
    logging.disable(logging.INFO)
    folder = args.out / 'report'
    folder.mkdir(exist_ok=True)
    draw(args.out, args.seeds[0], folder)
    scores = probe_all(args.out, args.seeds)
    (folder / 'results.json').write_text(
        json.dumps(dict(seeds=args.seeds, accuracy=scores), indent=2))
    (folder / 'results.md').write_text(table(scores, args.seeds, classes=8))


if __name__ == '__main__':
    main()
