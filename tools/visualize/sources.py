"""Where the models of these tools come from: checkpoints, configs, both."""

from argparse import ArgumentParser
from typing import NamedTuple

from amd_mm.checkpoints import CheckpointError, read_checkpoint, to_amd_mm
from amd_mm.datasets import BACKENDS, UnreadableVideoError
from amd_mm.engine.launch import LaunchError, check_config_path, read_config
from amd_mm.evaluation.clip_encoder import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    ArchitectureError,
    find_config,
    infer_backbone,
    is_config,
    stride_of,
)
from amd_mm.visualization.errors import VisualizationError
from amd_mm.visualization.model_files import Encoder, build_encoder, load_backbone
from mmengine.config import Config

ERRORS = (CheckpointError, LaunchError, UnreadableVideoError)
"""Whose message is for the user."""


class Source(NamedTuple):
    """A model's checkpoint and its config, if there is one.

    Attributes:
        checkpoint (str): A file, folder or address.
        cfg (Config, optional): The config given or found.
    """

    checkpoint: str
    cfg: Config | None

    def stride(self, asked: int | None) -> int | None:
        """From one frame of a clip to the next.

        Args:
            asked (int, optional): On the command line: 0 is one frame from
                each equal part, None is the config's, or 4.
        """
        if asked is not None:
            return asked or None
        return 4 if self.cfg is None else stride_of(self.cfg)

    def encoder(self) -> Encoder:
        """The model's backbone; without config read off the weights."""
        if self.cfg is not None:
            return load_backbone(self.checkpoint, self.cfg)
        state = to_amd_mm(read_checkpoint(self.checkpoint)).state
        try:
            backbone = infer_backbone(state)
        except ArchitectureError as error:
            raise VisualizationError(
                f'{self.checkpoint}: {error}; give its config after it'
            ) from None
        return build_encoder(backbone, state, self.checkpoint, IMAGENET_MEAN, IMAGENET_STD)


def find_source(checkpoint: str, config: str | None = None) -> Source:
    """A checkpoint with its config, given or left beside it by training.

    Raises:
        LaunchError: If there is no such config, or it cannot be read.
        VisualizationError: If it is no config, by its ending.
    """
    path = config or find_config(checkpoint)
    if path is None:
        return Source(checkpoint, None)
    if not is_config(path):
        raise VisualizationError(f'{path} is no config file (.py)')
    check_config_path(path)
    return Source(checkpoint, read_config(path))


def add_reading_arguments(parser: ArgumentParser, limit: int) -> None:
    """How clips are read and where models compute.

    Args:
        parser (ArgumentParser): Of the tool.
        limit (int): Inputs of a folder by default.
    """
    parser.add_argument(
        '--stride',
        type=int,
        help="from one frame of a clip to the next (default: the config's, "
        'or 4; 0: one frame from each equal part of the video)',
    )
    parser.add_argument('--limit', type=int, default=limit, help=f'inputs of a folder ({limit})')
    parser.add_argument('--device', help='default: the GPU if there is one')
    parser.add_argument('--backend', choices=list(BACKENDS), default='decord')
