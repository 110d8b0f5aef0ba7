"""Models of the real configs in their real size, without their memory."""
from unittest import mock

import torch
from mmengine.config import Config
from torch import nn
from torch.overrides import TorchFunctionMode

from amd_mm.models import VideoVisionTransformer
from amd_mm.registry import MODELS


class WeightsOnMeta(TorchFunctionMode):
    """Weights have shapes but no memory; tables and the like are real."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func is torch.empty and kwargs.get('device') is None:
            kwargs['device'] = 'meta'
        return func(*args, **kwargs)


def build_on_meta(cfg: Config) -> nn.Module:
    """The model of a config in its real size, without memory."""
    if cfg.model.get('teacher'):
        cfg.model.teacher.update(checkpoint=None, random_init=True)
    # A teacher of random weights initialises itself while it is built.
    with WeightsOnMeta(), mock.patch.object(VideoVisionTransformer,
                                            'init_weights'):
        return MODELS.build(cfg.model)
