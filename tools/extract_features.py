r"""Write the features of videos, one .npy file each.

    python tools/extract_features.py CHECKPOINT INPUT --out DIR
    python tools/extract_features.py CONFIG CHECKPOINT INPUT --out DIR

CHECKPOINT is a file of this package, of the public VideoMAE and AMD programs, of MMAction2 or of
Hugging Face (also its folder), or a training folder. The config that training left beside a
checkpoint is used; otherwise the model is read from the weights, and CONFIG is only needed for
unusual attention heads or clip sizes.

INPUT is a folder (searched for videos), a list (one name a line; labels are ignored) or a video.

Examples:
    # One feature of each video: the mean over all tokens of the middle clip
    python tools/extract_features.py vit_s.pth videos/ --out features/

    # Ten clips along each video: arrays of shape (10, width)
    python tools/extract_features.py vit_s.pth videos/ --out clips/ --clips 10

    # Windows of two seconds every half second, as action localisers read them, and their times
    python tools/extract_features.py vit_s.pth videos/ --out windows/ --window 2s --step 0.5s

    # One table of paths, times and features
    python tools/extract_features.py vit_s.pth videos/ --out features.parquet

    # All tokens: arrays of shape (clips, 8, 14, 14, width)
    python tools/extract_features.py vit_s.pth talk.mp4 --out tokens/ --tokens

`some/folder/clip.mp4` gives `DIR/some/folder/clip.npy` of shape (clips, width); with --tokens
(clips, time, rows, columns, width). Features of a pre-trained model are taken after its final
norm, those of a fine-tuned one after the norm before its classifier (with --tokens before that
norm). DIR/features.json records the settings, DIR/unreadable.txt the videos that could not be
read, with reasons. --shard 2/8 takes a part of the videos, so that several processes, each with its
own GPU, fill one folder. Run the same command again to continue after an interruption.

Exit code: 0; 1 if all videos are unreadable (with --strict: any); 2 if the call is wrong.
"""

import argparse
import os
import sys

import _venv  # noqa: F401, first: finds the packages
from amd_mm import Model, embed  # first: its import-time fixes serve what follows
from amd_mm.apis import load_encoder
from amd_mm.datasets import BACKENDS
from amd_mm.datasets.inference import ClipSampling, input_size, stride_of
from amd_mm.datasets.transforms import PerSecond
from amd_mm.datasets.video_reader import printable
from amd_mm.errors import CheckpointError, ConfigError, VideoError
from amd_mm.inference import DTYPES


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('sources', nargs='+', metavar='[CONFIG] CHECKPOINT INPUT', help='see above')
    add('--out', required=True, metavar='DIR', help='a folder, or a file .npz, .parquet or .h5')
    add('--clips', type=int, default=1, help='clips of a video, evenly spaced (1: its middle)')
    add('--tokens', action='store_true', help='keep every token, not the mean')
    add('--frames', type=int, help='frames of a clip (default: as in training, mostly 16)')
    spacing = parser.add_mutually_exclusive_group().add_argument
    spacing(
        '--stride',
        type=int,
        help="from one frame of a clip to the next (default: the config's, or 4); 0: one frame "
        'from each equal part of the video',
    )
    spacing(
        '--fps',
        dest='stride',
        type=PerSecond.rate,
        metavar='RATE',
        help='frames of a clip per second of the video, instead of --stride',
    )
    add('--size', type=int, help='height and width of a square, pixels (default: as in training)')
    add('--heads', type=int, help='attention heads, if they are not 64 wide and without config')
    add('--batch-size', type=int, default=8, help='clips at a time (8)')
    add('--workers', type=int, default=min(4, os.cpu_count() or 1), help='decoding processes')
    add('--device', help='default: the GPU if there is one')
    add(
        '--dtype',
        choices=DTYPES,
        default='float32',
        help='of the network; float16 is also that of the files',
    )
    add('--backend', choices=list(BACKENDS), default='pyav')
    add('--data-root', default='', metavar='DIR', help='folder that names in a list start from')
    add('--delimiter', default=' ', help='between name and label in a list (white space)')
    add('--window', help='windows along each video: frames (64) or seconds (2.5s)')
    add('--step', help='from one window to the next (default: the length of a window)')
    add('--shard', default='1/1', metavar='2/8', help='the second of eight parts of the videos')
    add('--strict', action='store_true', help='exit with 1 if any video is unreadable')
    args = parser.parse_args(argv)
    if not 2 <= len(args.sources) <= 3:
        parser.error('give [CONFIG] CHECKPOINT INPUT, two or three of them')
    if min(args.clips, args.batch_size) < 1:
        parser.error('--clips and --batch-size must be at least 1')
    *source, args.input = args.sources
    args.source = tuple(source) if len(source) == 2 else source[0]
    return args


def choose_sampling(args: argparse.Namespace, model: Model) -> ClipSampling:
    """The frames asked for, by default those of training."""
    encoder = model.encoder
    if encoder.frames is None:
        raise ConfigError('the model is for images: this tool reads videos')
    stride = stride_of(model.cfg) if args.stride is None else args.stride or None
    sampling = ClipSampling(
        args.frames or encoder.frames, stride, args.clips, args.size or input_size(encoder.backbone)
    )
    frames, size, _ = encoder.backbone.patch_shape
    if sampling.frames % frames or (args.size or 0) % size:
        raise ConfigError(
            f'--frames {sampling.frames} must be a multiple of {frames} and --size '
            f'{sampling.size} of {size}, the size of a patch'
        )
    return sampling


def run(args: argparse.Namespace) -> int:
    """Extract features; return the exit code."""
    encoder = load_encoder(
        args.source, args.device, frames=args.frames, size=args.size, heads=args.heads
    )
    if encoder.cfg.filename:
        print(f'config: {encoder.cfg.filename}')
    model = Model(encoder, args.dtype)
    sampling = choose_sampling(args, model)
    print(f'model: {encoder.describe()}; {args.window or sampling}')
    found = embed(
        args.input,
        model,
        args.out,
        window=args.window,
        step=args.step,
        sampling=sampling,
        tokens=args.tokens,
        batch_size=args.batch_size,
        workers=args.workers,
        shard=args.shard,
        backend=args.backend,
        data_root=args.data_root,
        delimiter=args.delimiter,
    )
    for name, reason in found.unreadable[:20]:
        print(printable(f'unreadable: {name}: {reason}'))
    failed = len(found.unreadable)
    return int(failed == found.videos or bool(args.strict and failed))


def main(argv: list[str] | None = None) -> int:
    """Read the command line, extract, and report errors in a sentence."""
    args = parse_args(argv)
    try:
        return run(args)
    except (ConfigError, CheckpointError, VideoError, OSError, ImportError) as error:
        print(f'extract_features.py: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('\ninterrupted; run the same command to continue', file=sys.stderr)
        return 130


if __name__ == '__main__':
    sys.exit(main())
