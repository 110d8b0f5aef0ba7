"""Work folders of tiny models: a checkpoint with its config beside it."""

from pathlib import Path
from typing import Any

import torch
from amd_mm.registry import MODELS
from mmengine.config import Config


def work_folder(folder: Path, model: dict, seed: int = 0, **cfg: Any) -> Path:
    """Make one as training leaves it; the checkpoint."""
    torch.manual_seed(seed)
    built = MODELS.build(model)
    built.init_weights()
    folder.mkdir(parents=True)
    Config(dict(model=model, default_scope='mmaction', **cfg)).dump(folder / 'config.py')
    path = folder / 'epoch_1.pth'
    torch.save(dict(state_dict=built.state_dict()), path)
    (folder / 'last_checkpoint').write_text(str(path))
    return path
