r"""What frozen features know: nearest neighbours and a linear classifier.

    python tools/probe.py CONFIG CHECKPOINT

CONFIG names labelled training and test sets: one of configs/*/recognition or
configs/*/probe. CHECKPOINT is any that tools/extract_features.py reads, of the
config's backbone. Every video is looked at once, without augmentation; its
feature is the mean over the tokens of the middle clip (--views test: of the
config's test clips). The classifiers are then fitted to convergence, in
minutes and without learning rate: logistic regression, whose penalty is chosen
on a fifth of the training set, and votes of the nearest neighbours.

Examples:
    python tools/probe.py configs/amd/probe/\
linear-probe_vit-small-p16_8xb64-16x4x1-30e_k400.py epoch_200.pth

    # With a tenth of the labels; the features are already there
    ... --cfg-options train_dataloader.dataset.label_fraction=0.1

Features are kept in WORK_DIR/features, so that the same command goes on where
it was interrupted; results are added to WORK_DIR/probe.json.

Exit code: 0, or 2 if the call is wrong.
"""

import argparse
import hashlib
import json
import os
import os.path as osp
import sys
import time
from pathlib import Path

import amd_mm  # noqa: F401, first: its import-time fixes serve what follows
import numpy as np
import torch
from amd_mm.checkpoints import CheckpointError
from amd_mm.datasets import ListFileError, ReplaceUnreadableMixin
from amd_mm.engine.launch import LaunchError, load_config
from amd_mm.evaluation.clip_encoder import ArchitectureError, ClipEncoder, choose_device
from amd_mm.evaluation.feature_files import FeatureFolder, FeatureFolderError, extract, file_names
from amd_mm.evaluation.linear_probe import LabelledFeatures, linear_probe, nearest_neighbours
from amd_mm.registry import DATASETS
from mmengine.config import Config, DictAction
from mmengine.utils import ProgressBar

DTYPES = ('float32', 'bfloat16', 'float16')


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file or address')
    parser.add_argument(
        '--work-dir', help='for features and results (default: work_dirs/<config name>)'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='override entries of the config: key=value',
    )
    parser.add_argument(
        '--views',
        choices=('val', 'test'),
        default='val',
        help='whose clips to average: of val_dataloader (default, mostly the '
        'middle one) or of test_dataloader (several)',
    )
    parser.add_argument(
        '--neighbours',
        type=int,
        nargs='*',
        default=[10, 20, 100],
        help='how many vote (default: 10 20 100)',
    )
    parser.add_argument(
        '--no-linear',
        action='store_true',
        help='leave out the linear classifier (slow without a GPU on large sets)',
    )
    parser.add_argument('--batch-size', type=int, default=16, help='clips at a time (16)')
    parser.add_argument(
        '--workers',
        type=int,
        default=min(8, os.cpu_count() or 1),
        help='decoding processes (default: up to 8)',
    )
    parser.add_argument('--device', help='default: the GPU if there is one')
    parser.add_argument(
        '--dtype',
        choices=DTYPES,
        default='float32',
        help='of the network; probes compute in float64',
    )
    parser.set_defaults(launcher='none', local_rank=0)
    args = parser.parse_args(argv)
    if args.batch_size < 1 or any(one < 1 for one in args.neighbours):
        parser.error('--batch-size and --neighbours must be at least 1')
    return args


def build_datasets(
    cfg: Config, views: str
) -> tuple[ReplaceUnreadableMixin, ReplaceUnreadableMixin]:
    """Training and test set, both with the pipeline of a test.

    Args:
        cfg (Config): Of recognition.
        views (str): ``val`` or ``test``: whose pipeline and test set.

    Returns:
        tuple: The two data sets.

    Raises:
        LaunchError: If the config has none, or they cannot be used here.
    """
    parts = ['train_dataloader', f'{views}_dataloader']
    for part in parts:
        if not cfg.get(part):
            raise LaunchError(
                f'{cfg.filename} has no {part}: probes need labelled training '
                'and test sets, as in configs/amd/recognition'
            )
    train_cfg, test_cfg = (dict(cfg[part].dataset) for part in parts)
    train_cfg.update(pipeline=test_cfg['pipeline'], test_mode=True)
    datasets = []
    for part, dataset_cfg in zip(parts, (train_cfg, test_cfg)):
        dataset = DATASETS.build(dataset_cfg)
        if not isinstance(dataset, ReplaceUnreadableMixin):
            raise LaunchError(
                f'{part}.dataset is a {type(dataset).__name__}; probes read '
                'amd_mm.VideoListDataset and amd_mm.RawFrameListDataset'
            )
        datasets.append(dataset)
    return datasets[0], datasets[1]


def names_of(dataset: ReplaceUnreadableMixin) -> list[str]:
    """Names of the samples, relative to the folder of the videos."""
    prefix = next(iter(dataset.data_prefix.values()), '') or '.'
    names = []
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        name = osp.relpath(info.get('filename') or info['frame_dir'], prefix)
        if 'offset' in info:
            name = osp.join(name, str(info['offset']))
        names.append(name)
    return names


def features_of(
    dataset: ReplaceUnreadableMixin,
    title: str,
    folder: FeatureFolder,
    encode,
    args: argparse.Namespace,
) -> LabelledFeatures:
    """Features of all readable videos of a data set.

    Args:
        dataset (ReplaceUnreadableMixin): Labelled.
        title (str): What to call it.
        folder (FeatureFolder): Where features are kept.
        encode (Callable): From clips to features.
        args (argparse.Namespace): Batch size and workers.

    Returns:
        LabelledFeatures: The mean over the views of each video.

    Raises:
        LaunchError: If no video could be read, or they have no labels.
    """
    labels = [dataset.get_data_info(index)['label'] for index in range(len(dataset))]
    if not all(isinstance(label, int) and label >= 0 for label in labels):
        raise LaunchError(
            f'{title} set {dataset.ann_file}: a probe needs one label (from 0) in every line'
        )
    files = file_names(names_of(dataset))
    left = sum(not folder.has(file) for file in files)
    print(f'{title}: {len(files)} videos, features of {len(files) - left} are there')
    bar = ProgressBar(left, file=sys.stderr) if left else None
    problems = extract(
        encode,
        dataset,
        files,
        folder,
        args.batch_size,
        args.workers,
        on_progress=bar.update if bar else lambda: None,
    )
    print(file=sys.stderr)
    for index, reason in problems[:20]:
        print(f'left out: {files[index]}: {reason}')
    print(f'{title}: {len(problems)} unreadable')
    missing = {index for index, _ in problems}
    kept = [index for index in range(len(files)) if index not in missing]
    if not kept:
        raise LaunchError(
            f'{title}: none of the videos could be read; check data_root and data_prefix'
        )
    values = np.stack([folder.load(files[index]).mean(0, np.float32) for index in kept])
    return LabelledFeatures(torch.from_numpy(values), torch.tensor([labels[i] for i in kept]))


def run_probes(
    train: LabelledFeatures, test: LabelledFeatures, args: argparse.Namespace
) -> list[tuple[str, str, float]]:
    """(probe, setting, accuracy) for each."""
    rows = []
    for count in args.neighbours:
        result = nearest_neighbours(train, test, count)
        rows.append(('nearest neighbours', f'k = {result.setting}', result.accuracy))
    if not args.no_linear:
        print('fitting the linear classifier ...', flush=True)
        started = time.monotonic()
        result = linear_probe(train, test)
        print(f'... done in {time.monotonic() - started:.0f} s')
        rows.append(('linear', f'penalty = {result.setting:g}', result.accuracy))
    return rows


def table(rows: list[tuple[str, str, float]]) -> str:
    """Rows as a table that is readable as it is and as Markdown."""
    lines = [('probe of frozen features', 'setting', 'top-1 %')]
    lines += [(name, setting, f'{100 * accuracy:.2f}') for name, setting, accuracy in rows]
    widths = [max(map(len, column)) for column in zip(*lines)]
    texts = [
        '| ' + ' | '.join(cell.ljust(width) for cell, width in zip(line, widths)) + ' |'
        for line in lines
    ]
    rule = '|' + '|'.join('-' * (width + 2) for width in widths) + '|'
    return '\n'.join([texts[0], rule, *texts[1:]])


def keep_results(work_dir: Path, entry: dict) -> Path:
    """Add an entry to the results of a work folder; their file."""
    path = work_dir / 'probe.json'
    entries = json.loads(path.read_text()) if path.is_file() else []
    part = path.with_suffix('.part')
    part.write_text(json.dumps([*entries, entry], indent=2) + '\n')
    part.replace(path)
    return path


def run(args: argparse.Namespace) -> None:
    """Extract, probe and print."""
    cfg = load_config(args)
    device = choose_device(args.device)
    datasets = build_datasets(cfg, args.views)
    encoder = ClipEncoder.from_checkpoint(args.checkpoint, cfg)
    pipeline = json.dumps(cfg[f'{args.views}_dataloader'].dataset.pipeline)
    settings = dict(
        weights=encoder.fingerprint(),
        heads=encoder.backbone.num_heads,
        dtype=args.dtype,
        pipeline=hashlib.sha256(pipeline.encode()).hexdigest()[:8],
    )
    # A folder for each way of making features: nothing is ever mixed.
    kept = '-'.join(map(str, settings.values()))
    encode = encoder.encode_with(device, getattr(torch, args.dtype))
    work_dir = Path(cfg.work_dir)
    train, test = (
        features_of(
            dataset,
            title,
            FeatureFolder(work_dir / 'features' / kept / title, settings),
            encode,
            args,
        ).to(device)
        for title, dataset in zip(('train', 'test'), datasets)
    )
    rows = run_probes(train, test, args)
    print(
        f'\n{args.checkpoint}\n{len(train.labels)} training and '
        f'{len(test.labels)} test videos\n\n{table(rows)}'
    )
    path = keep_results(
        work_dir,
        dict(
            config=args.config,
            checkpoint=args.checkpoint,
            cfg_options=args.cfg_options,
            views=args.views,
            train_videos=len(train.labels),
            test_videos=len(test.labels),
            **settings,
            results=[
                dict(probe=name, setting=setting, top1=accuracy) for name, setting, accuracy in rows
            ],
        ),
    )
    print(f'\nadded to {path}')


def main(argv: list[str] | None = None) -> int:
    """Read the command line, probe, and say what is wrong with it."""
    args = parse_args(argv)
    try:
        run(args)
    except (
        ArchitectureError,
        CheckpointError,
        FeatureFolderError,
        LaunchError,
        ListFileError,
        ImportError,
        OSError,
    ) as error:
        print(f'probe.py: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('\ninterrupted; the same command goes on where it was', file=sys.stderr)
        return 130
    return 0


if __name__ == '__main__':
    sys.exit(main())
