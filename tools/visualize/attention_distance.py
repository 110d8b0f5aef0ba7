r"""How far each head of each block looks, for one or several models.

    python tools/visualize/attention_distance.py INPUT ... \
        --model NAME CHECKPOINT [CONFIG] --model ... --out distance.png

For each head: the distance between a patch and the patches it attends to,
weighted by attention, mean over patches and inputs (figure 4 of the AMD
paper). Within the frame, in pixels of the model's input or in tokens; keys of
all frames of a clip take part, and their distance in time, in frames, is drawn
below. Clips are seen whole. A table with all figures is written beside the
picture, distance.csv.

CHECKPOINT is of any known format, pre-trained or fine-tuned. CONFIG is the
model's config: for video models it is mostly not needed, they are read off the
weights, and the one that training left beside a checkpoint is found by itself.

INPUT is a video, an image, or a folder of them, of which the first few are
taken. Some ten clips are enough: the figure is a mean over all patches.

Exit code: 0, or 2 if something is wrong with the call or the files.
"""

import argparse
import sys
from pathlib import Path

import amd_mm  # noqa: F401, first: its import-time fixes serve what follows
from amd_mm.evaluation.clip_encoder import choose_device
from amd_mm.visualization.attention import Distances, attention_distances
from amd_mm.visualization.attention_pictures import (
    UNITS,
    draw_attention_distances,
    write_attention_distances,
)
from amd_mm.visualization.command_line import run_tool
from amd_mm.visualization.errors import VisualizationError
from amd_mm.visualization.figures import check_picture
from amd_mm.visualization.inputs import find_inputs, read_inputs
from sources import ERRORS, add_reading_arguments, find_source


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog='attention_distance.py',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('inputs', nargs='+', metavar='INPUT', help='videos, images, folders')
    parser.add_argument(
        '--model',
        nargs='+',
        action='append',
        required=True,
        metavar='NAME CHECKPOINT [CONFIG]',
        help='a model; may be given several times',
    )
    parser.add_argument('--out', required=True, metavar='FILE', help='.png, .pdf or .svg')
    parser.add_argument('--unit', choices=UNITS, default=UNITS[0], help='within the frame')
    add_reading_arguments(parser, 16)
    return parser


def run(args: argparse.Namespace) -> None:
    """Measure every model, then draw."""
    check_picture(args.out)
    for model in args.model:
        if not 2 <= len(model) <= 3:
            raise VisualizationError(f'--model {" ".join(model)}: give NAME CHECKPOINT [CONFIG]')
    names = [model[0] for model in args.model]
    if len(set(names)) < len(names):
        raise VisualizationError(f'two models have one name: {", ".join(names)}')
    files = find_inputs(args.inputs, args.limit)
    device = choose_device(args.device)
    found: dict[str, Distances] = {}
    for name, checkpoint, *config in args.model:
        source = find_source(checkpoint, *config)
        encoder = source.encoder()
        encoder.backbone.to(device)
        inputs = read_inputs(
            files, encoder.frames, encoder.size, source.stride(args.stride), args.backend
        )
        found[name] = attention_distances(encoder, inputs)
        blocks = found[name].space.mean(1)
        print(
            f'{name}: {len(files)} inputs, mean distance of the first block '
            f'{blocks[0]:.1f} pixels, of the last {blocks[-1]:.1f} (looking '
            f'everywhere alike: {found[name].uniform[0]:.1f})'
        )
    table = Path(args.out).with_suffix('.csv')
    draw_attention_distances(found, args.out, args.unit)
    print(f'wrote {args.out} and {write_attention_distances(found, table)}')


def main(argv: list[str] | None = None) -> int:
    """Run the tool; the exit code."""
    return run_tool(make_parser(), run, argv, ERRORS)


if __name__ == '__main__':
    sys.exit(main())
