"""Models in their real size without memory for their weights."""

import copy
from collections.abc import Callable
from typing import Any
from unittest import mock

import torch
from amd_mm.registry import MODELS
from mmengine.config import Config, ConfigDict
from torch import nn
from torch.overrides import TorchFunctionMode

from .backbones import ImageVisionTransformer, VideoVisionTransformer
from .teachers import randomize_teachers


class EmptyOnMeta(TorchFunctionMode):
    """Puts only the tensors that ``torch.empty`` makes (weights) on the meta device."""

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.empty and kwargs.get('device') is None:
            kwargs['device'] = 'meta'
        return func(*args, **kwargs)


def build_on_meta(cfg: Config) -> nn.Module:
    """Build the model of a config with weights on the meta device and real buffers.

    A teacher's checkpoint is not read.
    """
    model = copy.deepcopy(ConfigDict(cfg.model))
    randomize_teachers(model)
    with (
        EmptyOnMeta(),
        # A teacher with random weights calls it at construction, and MMEngine's reads the weights.
        mock.patch.object(VideoVisionTransformer, 'init_weights'),
        mock.patch.object(ImageVisionTransformer, 'init_weights'),
    ):
        return MODELS.build(model)
