r"""Recognise the action in a video: the five most likely classes.

    python tools/demo.py VIDEO CHECKPOINT [--labels label_map.txt]
    python tools/demo.py VIDEO CHECKPOINT --out annotated.mp4

Over time, in a video of any length: windows of so many frames (64) or seconds (2.5s), as a table,
a picture and an annotated video.

    python tools/demo.py VIDEO CHECKPOINT --window 2s --step 1s --out table.csv times.png seen.mp4

CHECKPOINT is a fine-tuned model: of this package (a file or a training folder), of the public
VideoMAE and AMD programs, of MMAction2 or of Hugging Face. The config that training left beside
it is used; without one, the model is read from the weights, and the video is seen in three clips
of 16 frames (--clips, --stride or --fps). VIDEO may also be an image, and the model one for images.

Exit code: 0, or 2 if something is wrong with the call or the files.
"""

import argparse
import sys

import _venv  # noqa: F401, first: finds the packages
import amd_mm  # noqa: F401, first: its import-time fixes serve what follows
from amd_mm import Model
from amd_mm.apis import load_model
from amd_mm.datasets import BACKENDS
from amd_mm.datasets.inference import ClipSampling
from amd_mm.datasets.transforms import PerSecond
from amd_mm.datasets.video_reader import printable
from amd_mm.errors import CheckpointError, ConfigError, VideoError
from amd_mm.evaluation.label_map import read_label_map
from amd_mm.visualization.timeline import check_timeline_output
from amd_mm.visualization.video import check_output, write_annotated_video


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('video')
    add('checkpoint', help='a file, folder or address')
    add('--config', help='config (default: the one beside the checkpoint, or none)')
    add('--labels', metavar='FILE', help='class names: a text file with one a line, or .json')
    add(
        '--out',
        nargs='+',
        metavar='FILE',
        default=[],
        help='annotated video: .mp4 or .gif; with --window also .csv, .json, .png, .pdf or .svg',
    )
    add('--window', help='length of a window: frames (64) or seconds (2.5s)')
    add('--step', help='from one window to the next (default: the length of a window)')
    add('--top-k', type=int, default=5, help='classes (5)')
    add('--device', help='default: the GPU if there is one')
    add('--backend', choices=list(BACKENDS), default='pyav')
    group = parser.add_argument_group('for models without a config')
    add = group.add_argument
    add('--clips', type=int, default=3, help='evenly spaced (3)')
    spacing = group.add_mutually_exclusive_group().add_argument
    spacing(
        '--stride',
        type=int,
        default=4,
        help='from one frame of a clip to the next (4); 0 for models of Something-Something: one '
        'frame from each equal part of the video',
    )
    spacing(
        '--fps',
        dest='stride',
        type=PerSecond.rate,
        metavar='RATE',
        help='frames of a clip per second of the video, instead of --stride',
    )
    add('--frames', type=int, help='frames of a clip (16)')
    add('--heads', type=int, help='attention heads, if they are not 64 wide')
    args = parser.parse_args(argv)
    if args.clips < 1 or (isinstance(args.stride, int) and args.stride < 0):
        parser.error('--clips must be at least 1 and --stride at least 0')
    if args.step and not args.window:
        parser.error('--step is from one window to the next: give --window too')
    return args


def run(args: argparse.Namespace) -> None:
    """Recognise, print and write."""
    for path in args.out:
        (check_timeline_output if args.window else check_output)(path)
    source = (args.config, args.checkpoint) if args.config else args.checkpoint
    module = load_model(source, args.device, frames=args.frames, heads=args.heads)
    sampling = None
    if module.cfg.filename is None:
        backbone = module.cfg.model.backbone
        sampling = ClipSampling(
            args.frames or backbone.num_frames, args.stride or None, args.clips, backbone.img_size
        )
        print(f'read from the weights: {dict(backbone)}; {sampling}')
    else:
        print(f'config: {module.cfg.filename}')
    head = getattr(module, 'cls_head', None) or getattr(module, 'head', None)
    labels = args.labels and read_label_map(args.labels, getattr(head, 'num_classes', None))
    model = Model(module)
    if args.window:
        timeline = model.timeline(
            args.video, args.window, args.step, labels=labels, backend=args.backend
        )
        for window, (start, end) in enumerate(timeline.times):
            ((name, value),) = timeline.top(window, 1)
            print(f'{start:8.2f} to {end:8.2f} s  {100 * value:5.1f} %  {name}')
        for path in args.out:
            timeline.write(path, args.video, args.top_k, args.backend)
    else:
        rows = model.predict(
            args.video, args.top_k, labels=labels, sampling=sampling, backend=args.backend
        )
        print(printable(f'{args.video}:'))
        for name, value in rows:
            print(f'  {100 * value:5.1f} %  {name}')
        for path in args.out:
            write_annotated_video(args.video, path, rows, args.backend)
    for path in args.out:
        print(f'wrote {path}')


def main(argv: list[str] | None = None) -> int:
    """Read the command line, run, and report errors in a sentence."""
    args = parse_args(argv)
    try:
        run(args)
    except (ConfigError, CheckpointError, VideoError, OSError, ImportError) as error:
        print(f'demo.py: {error}', file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())
