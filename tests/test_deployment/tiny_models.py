"""Configs of the quickstarts, one block deep, with checkpoints of noise."""

from pathlib import Path

import torch
from amd_mm.registry import MODELS
from mmengine.config import Config, ConfigDict
from torch import nn

REPOSITORY = Path(__file__).resolve().parents[2]
CLIPS = 'quickstart/quickstart_finetune.py'
IMAGES = 'quickstart_image/quickstart_image_finetune.py'
CLIP_PRETRAINING = 'quickstart/quickstart_videomae_student.py'
IMAGE_PRETRAINING = 'quickstart_image/quickstart_image_teacher.py'


def read_config(name: str) -> Config:
    """A config, one block deep."""
    cfg = Config.fromfile(REPOSITORY / 'configs' / name)
    backbone = cfg.model.backbone
    if isinstance(backbone.get('arch'), dict):
        backbone.arch.num_layers = 1
    else:
        backbone.depth = 1
    backbone.pop('pretrained', None)
    return cfg


def fill_with_noise(module: nn.Module, seed: int = 0) -> nn.Module:
    """Weights that all matter: no zeros, no ones."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point() and 'pos_embed' not in name:
            noise = torch.randn(tensor.shape, generator=generator)
            # Positive: one of them is the variance of a batch norm.
            tensor.copy_(0.1 * noise if tensor.ndim > 1 else noise.abs())
    return module.eval()


def build(model_cfg: ConfigDict, seed: int = 0) -> nn.Module:
    """A model of noise, in evaluation mode."""
    return fill_with_noise(MODELS.build(model_cfg), seed)


def save(model: nn.Module, path: Path) -> str:
    """A checkpoint as MMEngine leaves one after training with EMA."""
    state = model.state_dict()
    torch.save(
        dict(
            meta=dict(epoch=3),
            state_dict=state,
            optimizer=dict(state={0: dict(step=torch.ones(1))}),
            message_hub=dict(log_scalars={}),
            param_schedulers=[],
            ema_state_dict={
                'steps': torch.tensor(3),
                **{f'module.{key}': 0 * one for key, one in state.items()},
            },
        ),
        path,
    )
    return str(path)


def write(folder: Path, name: str) -> tuple[str, str, nn.Module]:
    """A config file, a checkpoint and the model that is in it."""
    cfg = read_config(name)
    model = build(cfg.model)
    config = folder / Path(name).name
    cfg.dump(config)
    return str(config), save(model, folder / 'student.pth'), model
