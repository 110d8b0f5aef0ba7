"""Small checkpoints of the kinds that users have."""

from pathlib import Path

import torch
from amd_mm.registry import MODELS
from torch import nn

from tests import tiny

CLASSES = 7
# One head of 64, so that the model can be read off its weights.
WIDTH = dict(embed_dims=64, depth=2, num_heads=1)


def pretrained() -> nn.Module:
    """A masked autoencoder: 8 frames of 64 x 64."""
    torch.manual_seed(0)
    model = MODELS.build(tiny.videomae(backbone=tiny.backbone(**WIDTH)))
    return model.eval()


def recognizer_cfg() -> dict:
    backbone = dict(tiny.backbone(**WIDTH), use_mean_pooling=True)
    return dict(
        type='mmaction.Recognizer3D',
        backbone=backbone,
        cls_head=dict(
            type='mmaction.TimeSformerHead',
            num_classes=CLASSES,
            in_channels=64,
            init_std=1.0,
            average_clips='prob',
        ),
        data_preprocessor=tiny.preprocessor(),
    )


def fine_tuned() -> nn.Module:
    """A recogniser whose predictions differ clearly."""
    torch.manual_seed(0)
    model = MODELS.build(recognizer_cfg())
    model.init_weights()
    nn.init.normal_(model.backbone.fc_norm.bias)
    return model.eval()


def save(model: nn.Module, path: Path, **beside) -> str:
    torch.save(dict(state_dict=model.state_dict(), **beside), path)
    return str(path)
