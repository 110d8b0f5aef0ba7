r"""Write the features of videos, one .npy file each.

    python tools/extract_features.py CHECKPOINT INPUT --out DIR
    python tools/extract_features.py CONFIG CHECKPOINT INPUT --out DIR

CHECKPOINT is a file of this package, of the public VideoMAE and AMD programs,
of MMAction2 or of Hugging Face (also its folder). The model is read off the
weights. CONFIG is only needed for models with unusual attention heads or clip
sizes; the one that training left beside its checkpoints is found by itself.

INPUT is a folder (searched for videos), a list (one name a line; labels are
ignored) or one video.

Examples:
    # One feature a video: the mean over all tokens of the middle clip
    python tools/extract_features.py vit_s.pth videos/ --out features/

    # Ten clips along each video: arrays of shape (10, width)
    python tools/extract_features.py vit_s.pth videos/ --out clips/ --clips 10

    # All tokens: arrays of shape (clips, 8, 14, 14, width)
    python tools/extract_features.py vit_s.pth talk.mp4 --out tokens/ --tokens

What comes out: `some/folder/clip.npy` for `some/folder/clip.mp4`, of shape
(clips, width); with --tokens (clips, time, rows, columns, width). Features of
a pre-trained model are taken after its final norm, those of a fine-tuned one
after the norm before its classifier (with --tokens before that norm).
DIR/features.json says how they were made, DIR/unreadable.txt lists videos that
could not be read, with reasons.

The same command again goes on where it was interrupted.

Exit code: 0 if something was written or nothing was left to do, 1 if all
videos are unreadable (with --strict: if one is), 2 if the call is wrong.
"""

import argparse
import os
import os.path as osp
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

import amd_mm  # noqa: F401, first: its import-time fixes serve what follows
import torch
from amd_mm.checkpoints import CheckpointError
from amd_mm.datasets import BACKENDS, VIDEO_EXTENSIONS, ListFileError, find_videos, read_list_file
from amd_mm.engine.launch import LaunchError, read_config
from amd_mm.evaluation.clip_encoder import (
    ArchitectureError,
    ClipEncoder,
    ClipSampling,
    choose_device,
    find_config,
    is_config,
    stride_of,
)
from amd_mm.evaluation.feature_files import (
    UNREADABLE,
    FeatureFolder,
    FeatureFolderError,
    NamedVideos,
    extract,
    file_names,
)
from mmengine.config import Config
from mmengine.utils import ProgressBar

DTYPES = ('float32', 'bfloat16', 'float16')


class Videos(NamedTuple):
    """Videos: where they are, and what they are called below DIR."""

    paths: list[str]
    names: list[str]


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('sources', nargs='+', metavar='[CONFIG] CHECKPOINT INPUT', help='see above')
    parser.add_argument('--out', required=True, metavar='DIR')
    parser.add_argument(
        '--clips',
        type=int,
        default=1,
        help='clips of a video, evenly spaced (default: 1, its middle)',
    )
    parser.add_argument('--tokens', action='store_true', help='keep every token, not the mean')
    parser.add_argument(
        '--frames', type=int, help='frames of a clip (default: as in training, mostly 16)'
    )
    parser.add_argument(
        '--stride',
        type=int,
        help="from one frame of a clip to the next (default: the config's, "
        'or 4; 0: one frame from each equal part of the video)',
    )
    parser.add_argument(
        '--size', type=int, help='height and width, pixels (default: as in training, mostly 224)'
    )
    parser.add_argument(
        '--heads', type=int, help='attention heads, if they are not 64 wide and there is no config'
    )
    parser.add_argument('--batch-size', type=int, default=8, help='clips at a time (8)')
    parser.add_argument(
        '--workers',
        type=int,
        default=min(4, os.cpu_count() or 1),
        help='decoding processes (default: up to 4)',
    )
    parser.add_argument('--device', default=None, help='default: the GPU if there is one')
    parser.add_argument(
        '--dtype',
        choices=DTYPES,
        default='float32',
        help='of the network; with float16 the files have it as well',
    )
    parser.add_argument('--backend', choices=list(BACKENDS), default='decord')
    parser.add_argument(
        '--data-root', default='', metavar='DIR', help='folder that the names in a list start from'
    )
    parser.add_argument(
        '--delimiter', default=' ', help='between name and label in a list (default: white space)'
    )
    parser.add_argument(
        '--strict', action='store_true', help='exit with 1 if any video is unreadable'
    )
    args = parser.parse_args(argv)
    if not 2 <= len(args.sources) <= 3:
        parser.error('give [CONFIG] CHECKPOINT INPUT, two or three of them')
    *config, args.checkpoint, args.input = args.sources
    args.config = config[0] if config else None
    for name in ('clips', 'batch_size'):
        if getattr(args, name) < 1:
            parser.error(f'--{name.replace("_", "-")} must be at least 1')
    return args


def load_config(args: argparse.Namespace) -> Config | None:
    """The config that was given, or lies beside the checkpoint."""
    path = args.config or find_config(args.checkpoint)
    if path is None:
        return None
    if not is_config(path):
        raise FileNotFoundError(f'{path} is no config file (.py)')
    if not osp.isfile(path):
        raise FileNotFoundError(f'there is no config file {path}')
    print(f'config: {path}')
    return read_config(path)


def find_input(args: argparse.Namespace) -> Videos:
    """The videos of a folder, of a list, or the one given."""
    if osp.isdir(args.input):
        names = find_videos(args.input)
        return Videos([osp.join(args.input, name) for name in names], names)
    if osp.splitext(args.input)[1].lower() in VIDEO_EXTENSIONS:
        if not osp.isfile(args.input):
            raise FileNotFoundError(f'there is no video {args.input}')
        return Videos([args.input], [osp.basename(args.input)])
    entries = read_list_file(args.input, delimiter=args.delimiter)
    names = list(dict.fromkeys(entry.name for entry in entries))
    return Videos([osp.join(args.data_root, name) for name in names], names)


def choose_sampling(
    args: argparse.Namespace, encoder: ClipEncoder, cfg: Config | None
) -> ClipSampling:
    """Which frames to look at: as asked for, else as in training."""
    sampling = ClipSampling(
        frames=args.frames or encoder.frames, clips=args.clips, size=args.size or encoder.size
    )
    if args.stride is not None:
        sampling = replace(sampling, stride=args.stride or None)
    elif cfg is not None:
        sampling = replace(sampling, stride=stride_of(cfg))
    encoder.check(sampling)
    return sampling


def run(args: argparse.Namespace) -> int:
    """Extract; the exit code."""
    device = choose_device(args.device)
    cfg = load_config(args)
    videos = find_input(args)
    encoder = ClipEncoder.from_checkpoint(args.checkpoint, cfg, args.frames, args.size, args.heads)
    sampling = choose_sampling(args, encoder, cfg)
    backbone = encoder.backbone
    print(
        f'model: {backbone.depth} blocks, {backbone.embed_dims} wide, '
        f'{backbone.num_heads} heads; {sampling}'
    )
    settings = dict(
        checkpoint=osp.basename(osp.abspath(args.checkpoint)),
        weights=encoder.fingerprint(),
        heads=backbone.num_heads,
        mean=encoder.mean.flatten().tolist(),
        std=encoder.std.flatten().tolist(),
        tokens=args.tokens,
        dtype=args.dtype,
        **asdict(sampling),
    )
    folder = FeatureFolder(args.out, settings)
    files = file_names(videos.names)
    left = sum(not folder.has(file) for file in files)
    print(
        f'{len(files)} videos, {len(files) - left} of them done before; to {args.out} on {device}'
    )
    encode = encoder.encode_with(device, getattr(torch, args.dtype), args.tokens)
    bar = ProgressBar(left, file=sys.stderr) if left else None
    problems = extract(
        encode,
        NamedVideos(videos.paths, sampling.pipeline(args.backend)),
        files,
        folder,
        args.batch_size,
        args.workers,
        on_progress=bar.update if bar else lambda: None,
    )
    print(file=sys.stderr)
    named = [(videos.names[index], reason) for index, reason in problems]
    folder.list_unreadable(named)
    for name, reason in named[:20]:
        print(f'unreadable: {name}: {reason}')
    print(
        f'{left - len(named)} written, {len(named)} unreadable'
        f'{", see " + str(Path(args.out) / UNREADABLE) if named else ""}'
    )
    return int(len(named) == len(files) or bool(args.strict and named))


def main(argv: list[str] | None = None) -> int:
    """Read the command line, extract, and say what is wrong with it."""
    args = parse_args(argv)
    try:
        return run(args)
    except (
        ArchitectureError,
        CheckpointError,
        FeatureFolderError,
        LaunchError,
        ListFileError,
        ImportError,
        OSError,
    ) as error:
        print(f'extract_features.py: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('\ninterrupted; the same command goes on where it was', file=sys.stderr)
        return 130


if __name__ == '__main__':
    sys.exit(main())
