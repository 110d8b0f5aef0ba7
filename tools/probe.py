r"""Evaluate frozen features: nearest neighbours, a linear classifier and an attentive one.

    python tools/probe.py CONFIG CHECKPOINT

CONFIG names labelled training and test sets: one of configs/*/recognition or configs/*/probe.
CHECKPOINT is any that tools/extract_features.py reads, of the config's backbone. Every video is
seen once, without augmentation; its feature is the mean over the tokens of the middle clip
(--views test: over the config's test clips). Two classifiers are fitted, to convergence and
without a learning rate: logistic regression, whose penalty is chosen on a fifth of the training
set, and votes of the nearest neighbours. --attentive adds a third: a learned query that attends to
all tokens, and a linear layer. It is trained with several learning rates and weight decays at once,
and chosen on the same fifth. Its tokens are kept as float16: C * 2 bytes for each token of a video.

Examples:
    python tools/probe.py configs/amd/probe/\
linear-probe_vit-small-p16_8xb64-16x4x1-30e_k400.py epoch_200.pth

    # With attentive pooling of the tokens
    ... --attentive

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
from collections.abc import Callable, Sequence
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
from amd_mm.engine import launch
from amd_mm.errors import CheckpointError, ConfigError, VideoError
from amd_mm.evaluation.features import FeatureFolder, extract, file_names
from amd_mm.evaluation.probes import Labelled, attentive_probe, linear_probe, nearest_neighbours
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
    add('--attentive', action='store_true', help='add the attentive classifier, which keeps tokens')
    add('--epochs', type=int, default=20, help='of the attentive classifier (20)')
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
    if min(args.batch_size, args.epochs, *args.neighbours) < 1:
        parser.error('--batch-size, --epochs and --neighbours must be at least 1')
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
    with launch.building(cfg):
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


class StoredTokens(Sequence):
    """The tokens of all views of a video (N, C), read from its file."""

    def __init__(self, folder: FeatureFolder, files: Sequence[str]) -> None:
        self.folder, self.files = folder, files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> np.ndarray:  # type: ignore[override]
        values = self.folder.load(self.files[index])
        return values.reshape(-1, values.shape[-1])


def labelled_features(
    dataset: ReplaceUnreadableMixin,
    title: str,
    folder: FeatureFolder,
    encode: Callable,
    args: argparse.Namespace,
) -> tuple[StoredTokens, np.ndarray]:
    """Features or tokens of each readable video, and the labels (N,)."""
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
    stored = StoredTokens(folder, [files[index] for index in kept])
    return stored, np.array([labels[index] for index in kept])


def run_probes(train: Labelled, test: Labelled, args: argparse.Namespace) -> list[dict]:
    """The result of each probe of mean features."""
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


def run_attentive(
    train: tuple[StoredTokens, np.ndarray],
    test: tuple[StoredTokens, np.ndarray],
    args: argparse.Namespace,
    device: torch.device,
) -> dict:
    """The result of the attentive probe."""
    print('training the attentive classifiers ...', flush=True)
    found = attentive_probe(train, test, epochs=args.epochs, device=device, workers=args.workers)
    rate, decay = found.setting
    return dict(probe='attentive', setting=f'lr {rate:g}, wd {decay:g}', top1=found.accuracy)


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

    def labelled(folder: Path, encode: Callable, **other: bool) -> list:
        return [
            labelled_features(
                dataset, title, FeatureFolder(folder / title, {**settings, **other}), encode, args
            )
            for title, dataset in zip(('train', 'test'), datasets)
        ]

    dtype = getattr(torch, args.dtype)
    stored = labelled(kept, lambda clips: encoder.encode(clips, dtype))
    train, test = (
        (np.stack([one.mean(0, np.float32) for one in values]), labels) for values, labels in stored
    )
    results = run_probes(train, test, args)
    if args.attentive:
        train_tokens, test_tokens = labelled(
            kept.with_name(f'{kept.name}-tokens'),
            lambda clips: encoder.encode(clips, dtype, keep_tokens=True).half(),
            tokens=True,
        )
        results.append(run_attentive(train_tokens, test_tokens, args, encoder.mean.device))
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
