r"""Evaluate frozen features: nearest neighbours and a linear classifier.

    python tools/probe.py CONFIG CHECKPOINT

CONFIG names labelled training and test sets: one of configs/*/recognition or configs/*/probe.
CHECKPOINT is any that tools/extract_features.py reads, of the config's backbone. Every video is
seen once, without augmentation; its feature is the mean over the tokens of the middle clip
(--views test: over the config's test clips). Two classifiers are fitted, to convergence and
without a learning rate: logistic regression, whose penalty is chosen on a fifth of the training
set, and votes of the nearest neighbours.

Examples:
    python tools/probe.py configs/amd/probe/\
linear-probe_vit-small-p16_8xb64-16x4x1-30e_k400.py epoch_200.pth

    # With a tenth of the labels; the features are reused
    ... --cfg-options train_dataloader.dataset.label_fraction=0.1

Features are kept in WORK_DIR/features: run the same command again to continue after an
interruption. Results are added to WORK_DIR/probe.json.

Exit code: 0, or 2 if the call is wrong.
"""

import argparse
import hashlib
import json
import os
import os.path as osp
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import _venv  # noqa: F401, first: finds the packages
import amd_mm  # noqa: F401, first: its import-time fixes serve what follows
import numpy as np
import torch
from amd_mm.apis import load_encoder, read_config
from amd_mm.arguments import KeyValues
from amd_mm.checkpoints import write_atomically
from amd_mm.datasets import ReplaceUnreadableMixin
from amd_mm.datasets.inference import Clips
from amd_mm.errors import CheckpointError, ConfigError, VideoError
from amd_mm.evaluation.features import FeatureFolder, extract, file_names
from amd_mm.evaluation.probes import Labelled, linear_probe, nearest_neighbours
from amd_mm.registry import DATASETS
from mmengine.config import Config


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('config', help='config file')
    add('checkpoint', help='checkpoint file or address')
    add('--work-dir', help='for features and results (default: work_dirs/<config name>)')
    add('--cfg-options', nargs='+', action=KeyValues, help='override config entries: key=value')
    add(
        '--views',
        choices=('val', 'test'),
        default='val',
        help='clips to average: of val_dataloader (mostly the middle one) or of test_dataloader',
    )
    add(
        '--neighbours', type=int, nargs='*', default=[10, 20, 100], help='how many vote (10 20 100)'
    )
    add('--no-linear', action='store_true', help='skip the linear classifier (slow on large sets)')
    add('--batch-size', type=int, default=16, help='clips at a time (16)')
    add('--workers', type=int, default=min(8, os.cpu_count() or 1), help='decoding processes')
    add('--device', help='default: the GPU if there is one')
    add(
        '--dtype',
        choices=('float32', 'bfloat16', 'float16'),
        default='float32',
        help='of the network; probes compute in float64',
    )
    args = parser.parse_args(argv)
    if min(args.batch_size, *args.neighbours) < 1:
        parser.error('--batch-size and --neighbours must be at least 1')
    return args


def build_datasets(cfg: Config, views: str) -> list[ReplaceUnreadableMixin]:
    """Training and test set, both with the test pipeline of ``views`` (val or test)."""
    parts = ['train_dataloader', f'{views}_dataloader']
    for part in parts:
        if not cfg.get(part):
            raise ConfigError(
                f'{cfg.filename} has no {part}: probes need labelled training and test sets, as '
                'in configs/amd/recognition'
            )
    train_cfg, test_cfg = (dict(cfg[part].dataset) for part in parts)
    train_cfg.update(pipeline=test_cfg['pipeline'], test_mode=True)
    datasets = [DATASETS.build(one) for one in (train_cfg, test_cfg)]
    for part, dataset in zip(parts, datasets):
        if not isinstance(dataset, ReplaceUnreadableMixin):
            raise ConfigError(
                f'{part}.dataset is a {type(dataset).__name__}; use amd_mm.VideoListDataset or '
                'amd_mm.RawFrameListDataset'
            )
    return datasets


def sample_names(dataset: ReplaceUnreadableMixin) -> list[str]:
    """Names of the samples, relative to the folder of the videos."""
    prefix = next(iter(dataset.data_prefix.values()), '') or '.'
    names = []
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        name = osp.relpath(info.get('filename') or info['frame_dir'], prefix)
        names.append(osp.join(name, str(info['offset'])) if 'offset' in info else name)
    return names


def read_views(dataset: ReplaceUnreadableMixin, index: int) -> list[Clips]:
    """The views of a sample, in one part."""
    views = dataset.prepare_data(index)['inputs']  # (V, C, T, H, W)
    return [Clips(views, np.full((len(views), 2), np.nan))]


def labelled_features(
    dataset: ReplaceUnreadableMixin,
    title: str,
    folder: FeatureFolder,
    encode: Callable,
    args: argparse.Namespace,
) -> Labelled:
    """Mean features of the views of each readable video (N, C), and the labels (N,)."""
    labels = [dataset.get_data_info(index).get('label') for index in range(len(dataset))]
    if not all(isinstance(label, int) and label >= 0 for label in labels):
        raise VideoError(
            f'{title} set {dataset.ann_file}: a probe needs one label (from 0) in every line'
        )
    files = file_names(sample_names(dataset))
    done = sum(folder.has(file) for file in files)
    print(f'{title}: {len(files)} videos, features of {done} are there')
    read = partial(read_views, dataset)
    problems = dict(extract(encode, read, files, folder, args.batch_size, args.workers))
    for index, reason in list(problems.items())[:20]:
        print(f'left out: {files[index]}: {reason}')
    print(f'{title}: {len(problems)} unreadable')
    kept = [index for index in range(len(files)) if index not in problems]
    if not kept:
        raise VideoError(
            f'{title}: none of the videos could be read; check data_root and data_prefix'
        )
    values = np.stack([folder.load(files[index]).mean(0, np.float32) for index in kept])
    return values, np.array([labels[index] for index in kept])


def run_probes(train: Labelled, test: Labelled, args: argparse.Namespace) -> list[dict]:
    """The result of each probe."""
    results = []
    for count in args.neighbours:
        found = nearest_neighbours(train, test, count)
        results.append(
            dict(probe='nearest neighbours', setting=f'k = {found.setting}', top1=found.accuracy)
        )
    if not args.no_linear:
        print('fitting the linear classifier ...', flush=True)
        found = linear_probe(train, test)
        results.append(
            dict(probe='linear', setting=f'penalty = {found.setting:g}', top1=found.accuracy)
        )
    return results


def table(results: list[dict]) -> str:
    """Results as a Markdown table."""
    lines = ['| probe of frozen features | setting         | top-1 % |', '|---|---|---|']
    lines += [
        f'| {one["probe"]:24} | {one["setting"]:15} | {100 * one["top1"]:7.2f} |' for one in results
    ]
    lines[1] = '|' + '|'.join('-' * len(cell) for cell in lines[0][1:-1].split('|')) + '|'
    return '\n'.join(lines)


def add_results(path: Path, entry: dict) -> None:
    """Add an entry to a JSON list, whole or not at all."""
    entries = json.loads(path.read_text()) if path.is_file() else []
    write_atomically(path, f'{json.dumps([*entries, entry], indent=2)}\n'.encode())


def run(args: argparse.Namespace) -> None:
    """Extract features, probe and print."""
    cfg = read_config(args.config)
    cfg.merge_from_dict(args.cfg_options or {})
    work_dir = Path(
        args.work_dir or cfg.get('work_dir') or osp.join('work_dirs', Path(args.config).stem)
    )
    datasets = build_datasets(cfg, args.views)
    encoder = load_encoder((cfg, args.checkpoint), args.device)
    pipeline = json.dumps(cfg[f'{args.views}_dataloader'].dataset.pipeline)
    settings = dict(
        weights=encoder.fingerprint(),
        heads=encoder.backbone.num_heads,
        dtype=args.dtype,
        pipeline=hashlib.sha256(pipeline.encode()).hexdigest()[:8],
    )
    # one folder for each combination of settings
    kept = work_dir / 'features' / '-'.join(map(str, settings.values()))
    train, test = (
        labelled_features(
            dataset,
            title,
            FeatureFolder(kept / title, settings),
            lambda clips: encoder.encode(clips, getattr(torch, args.dtype)),
            args,
        )
        for title, dataset in zip(('train', 'test'), datasets)
    )
    results = run_probes(train, test, args)
    counts = len(train[1]), len(test[1])
    print(f'\n{args.checkpoint}\n{counts[0]} training and {counts[1]} test videos\n')
    print(table(results))
    entry = dict(
        config=args.config,
        checkpoint=args.checkpoint,
        cfg_options=args.cfg_options,
        views=args.views,
        train_videos=counts[0],
        test_videos=counts[1],
        **settings,
        results=results,
    )
    add_results(work_dir / 'probe.json', entry)
    print(f'\nadded to {work_dir / "probe.json"}')


def main(argv: list[str] | None = None) -> int:
    """Read the command line, probe, and report errors in a sentence."""
    args = parse_args(argv)
    try:
        run(args)
    except (ConfigError, CheckpointError, VideoError, OSError, ImportError) as error:
        print(f'probe.py: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('\ninterrupted; run the same command to continue', file=sys.stderr)
        return 130
    return 0


if __name__ == '__main__':
    sys.exit(main())
