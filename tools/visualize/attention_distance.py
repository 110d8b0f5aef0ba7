r"""Draw how far each head of each block looks, for one or several models.

    python tools/visualize/attention_distance.py INPUT ... \
        --model NAME CHECKPOINT [CONFIG] --model ... --out distance.png

For each head: the distance between a patch and the patches it attends to, weighted by attention,
mean over patches and inputs (figure 4 of the AMD paper). The first row is the distance within the
frame, in pixels of the model's input; the second row, for video, that in time. Models see all
patches. The numbers, also in patches, are written to distance.csv.

CHECKPOINT has any known format, pre-trained or fine-tuned. CONFIG is its config. Video models
mostly need none, and the config that training left beside a checkpoint is found. To compare with
an untrained model, give `--model untrained random CONFIG`.

INPUT is a video, an image, or a folder (its first few files). Ten clips are enough.
"""

import argparse
import sys
from pathlib import Path

import _venv  # noqa: F401, first: finds the packages
import amd_mm  # noqa: F401, first: its import-time fixes serve what follows
from amd_mm.visualization.features import (
    Distances,
    attention_distances,
    draw_attention_distances,
    write_attention_distances,
)
from amd_mm.visualization.plots import check_picture
from common import new_parser, run_tool
from sources import add_input_arguments, clips_for, find_inputs, load, named_models


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = new_parser(__file__, __doc__)
    parser.add_argument('inputs', nargs='+', metavar='INPUT', help='videos, images, folders')
    parser.add_argument(
        '--model',
        nargs='+',
        action='append',
        required=True,
        metavar='NAME CHECKPOINT [CONFIG]',
        help='a model; may be repeated',
    )
    add_input_arguments(parser, 16)
    return parser


def run(args: argparse.Namespace) -> None:
    """Measure every model, then draw."""
    check_picture(args.out)
    models = named_models(args.model, '--model')
    files = find_inputs(args.inputs, args.limit)
    found: dict[str, Distances] = {}
    for name, source in models.items():
        encoder = load(source, args.device)
        inputs = clips_for(encoder, files, encoder.cfg, args)
        found[name] = attention_distances(encoder.backbone, inputs)
        first, *_, last = found[name].space.mean(1)
        print(
            f'{name}: {len(files)} inputs, mean distance {first:.1f} pixels in the first block, '
            f'{last:.1f} in the last (uniform attention: {found[name].uniform[0]:.1f})'
        )
    draw_attention_distances(found, args.out)
    table = write_attention_distances(found, Path(args.out).with_suffix('.csv'))
    print(f'wrote {args.out} and {table}')


def main(argv: list[str] | None = None) -> int:
    """Run the tool; the exit code."""
    return run_tool(make_parser(), run, argv)


if __name__ == '__main__':
    sys.exit(main())
