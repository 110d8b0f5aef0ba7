"""Models in their real size without memory for their weights."""

import torch
from mmengine.config import Config, ConfigDict
from torch import nn


def build_on_meta(cfg: Config) -> nn.Module:
    """Build the model of a config on the meta device; a teacher's checkpoint is not read."""
    from amd_mm.registry import MODELS

    model = ConfigDict(cfg.model)
    if model.get('teacher'):
        model.teacher = dict(model.teacher, checkpoint=None, random_init=True)
    with torch.device('meta'):
        return MODELS.build(model)
