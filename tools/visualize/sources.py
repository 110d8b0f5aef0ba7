"""Models and clips for the tools that look into a model."""

import argparse
import os.path as osp
from collections.abc import Sequence

import torch
from amd_mm.apis import Encoder, load_encoder
from amd_mm.datasets import BACKENDS, IMAGE_EXTENSIONS, VIDEO_EXTENSIONS, find_videos
from amd_mm.datasets.inference import read_clips, stride_of
from amd_mm.errors import ConfigError, VideoError
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


def named_models(arguments: Sequence[Sequence[str]], option: str) -> dict[str, list[str]]:
    """CHECKPOINT [CONFIG] of each NAME, from an option that may be repeated."""
    models: dict[str, list[str]] = {}
    for values in arguments:
        if not 2 <= len(values) <= 3:
            raise ConfigError(f'{option} {" ".join(values)}: give NAME CHECKPOINT [CONFIG]')
        name, *source = values
        if name in models:
            raise ConfigError(f'two models have the same name, {name}')
        models[name] = source
    return models


def load(source: Sequence[str], device: str | None) -> Encoder:
    """The encoder of CHECKPOINT [CONFIG] on a command line; `random` gives random weights."""
    if len(source) > 2:
        raise ConfigError(f'{" ".join(source)}: give CHECKPOINT [CONFIG]')
    checkpoint, *config = source
    if checkpoint == 'random':
        if not config:
            raise ConfigError('random weights need a config: give random CONFIG')
        torch.manual_seed(0)
        return load_encoder((config[0], None), device)
    return load_encoder(
        (config[0], checkpoint) if config else checkpoint, device, allow_missing=CLOSING_NORMS
    )


def find_inputs(paths: Sequence[str], limit: int | None) -> list[str]:
    """List videos and images: files, and the first ``limit`` of each folder.

    Raises:
        FileNotFoundError: If a path does not exist, or a folder has no video and no image.
        VideoError: If a file has another ending.
    """
    endings = (*VIDEO_EXTENSIONS, *IMAGE_EXTENSIONS)
    found: list[str] = []
    for path in paths:
        if osp.isdir(path):
            names = find_videos(path, extensions=endings)
            found += [osp.join(path, name) for name in names[:limit]]
        elif not osp.isfile(path):
            raise FileNotFoundError(f'there is no video, image or folder {path}')
        elif osp.splitext(path)[1].lower() not in endings:
            raise VideoError(f'{path} is neither a video nor an image, by its ending')
        else:
            found.append(path)
    return found


def clips_for(
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
    inputs = read_clips(encoder.backbone, files, stride, args.backend)
    return encoder.normalise(inputs.to(encoder.mean.device))
