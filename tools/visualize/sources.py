"""Models and clips of the tools that look into a model."""

import argparse
from collections.abc import Sequence

from amd_mm.apis import Encoder, load_encoder, stride_of
from amd_mm.datasets import BACKENDS
from amd_mm.errors import ConfigError
from amd_mm.visualization.inputs import read_inputs
from mmengine.config import Config
from torch import Tensor

# The blocks alone are looked at. A checkpoint may have other norms after them than the config.
CLOSING_NORMS = tuple(f'backbone.{name}' for name in ('norm', 'fc_norm', 'ln1', 'ln2'))


def add_input_arguments(parser: argparse.ArgumentParser, limit: int) -> None:
    """Options for reading clips and running a model.

    Args:
        parser: of the tool.
        limit: default number of inputs taken from a folder.
    """
    parser.add_argument(
        '--stride',
        type=int,
        help="from one frame of a clip to the next (default: the config's, or 4; 0: one frame from "
        'each equal part of the video)',
    )
    parser.add_argument('--limit', type=int, default=limit, help=f'inputs of a folder ({limit})')
    parser.add_argument('--device', help='default: the GPU if there is one')
    parser.add_argument('--backend', choices=list(BACKENDS), default='pyav')


def load(source: Sequence[str], device: str | None) -> Encoder:
    """The encoder of CHECKPOINT [CONFIG] on a command line."""
    if len(source) > 2:
        raise ConfigError(f'{" ".join(source)}: give CHECKPOINT [CONFIG]')
    checkpoint, *config = source
    return load_encoder(
        (config[0], checkpoint) if config else checkpoint, device, allow_missing=CLOSING_NORMS
    )


def read_clips(
    encoder: Encoder, files: Sequence[str], cfg: Config, args: argparse.Namespace
) -> Tensor:
    """Read and normalise clips for an encoder.

    Args:
        encoder: its backbone defines the size.
        files: videos and images.
        cfg: its stride is used unless ``--stride`` is given.
        args: with the options of :func:`add_input_arguments`.
    """
    stride = stride_of(cfg) if args.stride is None else args.stride or None
    inputs = read_inputs(encoder.backbone, files, stride, args.backend)
    return encoder.normalise(inputs.to(encoder.mean.device))
