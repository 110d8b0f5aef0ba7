"""Golden numbers: what the public programs compute on tiny random models.

No weights are stored. Every tensor is drawn from a seed that is its name, so
that the public program and ours can draw the same one.
"""

import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from amd_mm.checkpoints import load_encoder, load_into
from amd_mm.models import AMD, TokenPartition
from amd_mm.registry import MODELS
from torch import Tensor

from tests.tiny import amd, backbone

VIDEO = (2, 3, 8, 64, 64)
FOLDER = Path(__file__).parent / 'data' / 'golden'

# Norm weights are drawn around 1; these are their names in the programs.
_NORM_WEIGHTS = (
    'norm.weight',
    'norm1.weight',
    'norm2.weight',
    'fc_norm.weight',
    'decoder_norm.weight',
    'layernorm_before.weight',
    'layernorm_after.weight',
    'layernorm.weight',
)

# Two programs on two machines: summation order differs.
TOLERANCE = dict(rtol=1e-4, atol=1e-5)


def draw(name: str, shape: Iterable[int]) -> Tensor:
    """The parameter called ``name`` (with its model's prefix), float32."""
    shape = tuple(int(size) for size in shape)
    value = _normal(name, shape) * (0.12 if len(shape) > 1 else 0.05)
    return value + 1 if name.endswith(_NORM_WEIGHTS) else value


def draw_input(name: str, shape: Iterable[int]) -> Tensor:
    """The input called ``name``: unscaled normal numbers, float32."""
    return _normal(name, tuple(int(size) for size in shape))


def draw_state(names: Iterable[str], prefix: str) -> dict[str, Tensor]:
    """A whole state dict in public names.

    Args:
        names (Iterable[str]): Entries of a golden file's list of names, each
            "name [shape]".
        prefix (str): The model's prefix in the drawn names, such as
            ``student``.

    Returns:
        dict[str, Tensor]: Public name -> tensor.
    """
    state = {}
    for entry in names:
        name, _, shape = str(entry).partition(' ')
        sizes = [int(size) for size in shape.strip('[]').split(',')]
        state[name] = draw(f'{prefix}/{name}', sizes)
    return state


def load_golden(file: str) -> dict[str, np.ndarray]:
    """Everything in a golden file, such as ``amd_video``."""
    with np.load(FOLDER / f'{file}.npz', allow_pickle=False) as content:
        return {key: content[key] for key in content.files}


def assert_close(actual: Tensor, expected: np.ndarray | float) -> None:
    """Compare with a golden value, within its tolerance."""
    torch.testing.assert_close(
        actual.detach(), torch.as_tensor(np.asarray(expected), dtype=actual.dtype), **TOLERANCE
    )


def _normal(name: str, shape: tuple[int, ...]) -> Tensor:
    seed = zlib.crc32(name.encode('utf-8'))
    values = np.random.RandomState(seed).standard_normal(shape)
    return torch.from_numpy(values.astype(np.float32))


def golden_amd() -> tuple[dict, AMD, Tensor, TokenPartition]:
    """Golden numbers of AMD, our model with the same weights, its clip and partition."""
    golden = load_golden('amd_video')
    model = MODELS.build(amd())
    load_into(model, draw_state(golden['student_names'], 'student'))
    teacher = MODELS.build(backbone(64, 6, 1))
    load_encoder(teacher, draw_state(golden['teacher_names'], 'teacher'), allow_missing=('norm',))
    model.teacher.backbone.load_state_dict(teacher.state_dict())
    masks = (torch.from_numpy(golden[f'mask_{who}']) for who in ('student', 'teacher'))
    return golden, model, draw_input('inputs', VIDEO), TokenPartition.from_masks(*masks)
