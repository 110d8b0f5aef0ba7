"""Models in their real size without their memory, to look at."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from unittest import mock

import torch
from mmengine.config import Config, ConfigDict
from torch import nn
from torch.overrides import TorchFunctionMode


class _WeightsOnMeta(TorchFunctionMode):
    """Weights have shapes but no memory; tables and the like are real."""

    def __torch_function__(
        self,
        func: Callable,
        types: Iterable[type],
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.empty and kwargs.get('device') is None:
            kwargs['device'] = 'meta'
        return func(*args, **kwargs)


def build_on_meta(cfg: Config) -> nn.Module:
    """Build the model of a config without memory for its weights.

    Args:
        cfg (Config): Not changed. A teacher's checkpoint is not read.

    Returns:
        nn.Module: The model; what is no weight (position tables) is real.
    """
    from amd_mm.registry import MODELS

    from .backbones import ImageVisionTransformer, VideoVisionTransformer

    model = ConfigDict(cfg.model)
    if model.get('teacher'):
        model.teacher = dict(model.teacher, checkpoint=None, random_init=True)
    # A teacher of random weights initialises itself while it is built.
    with (
        _WeightsOnMeta(),
        mock.patch.object(VideoVisionTransformer, 'init_weights'),
        mock.patch.object(ImageVisionTransformer, 'init_weights'),
    ):
        return MODELS.build(model)
