"""Nothing in a step's forward and backward pass makes the host wait.

On a GPU every value that Python looks at, and every tensor whose shape
depends on values, stops the host until the device has caught up. Which
operators do so does not depend on the device, so a CPU shows it.
"""

import pytest
import torch
from amd_mm.registry import MODELS
from torch.utils._python_dispatch import TorchDispatchMode

from tests.tiny import amd, backbone, mvd, videomae
from tests.tiny_image import dmae
from tests.tiny_tinymim import tinymim

_WAITS = (
    'aten::_local_scalar_dense',
    'aten::nonzero',
    'aten::is_nonzero',
    'aten::masked_select',
    'aten::unique',
    'aten::equal',
)
CLIPS, IMAGES = (2, 3, 8, 64, 64), (2, 3, 64, 64)
CASES = {
    'amd': (amd(), CLIPS),
    'amd_parallel': (amd('ParallelAlignment'), CLIPS),
    'rotary': (
        amd(
            backbone=backbone(pos_embed_type='rope_3d'),
            teacher=dict(
                type='amd_mm.FrozenTeacher',
                backbone=backbone(64, 6, 1, pos_embed_type='rope_3d'),
                random_init=True,
            ),
        ),
        CLIPS,
    ),
    'mvd': (mvd(), (2, 3, 16, 48, 48)),
    'dmae': (dmae(), IMAGES),
    'tinymim': (tinymim(), IMAGES),
}


class Waits(TorchDispatchMode):
    """Collects the operators that make the host wait for the device."""

    def __init__(self) -> None:
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.name().partition('.')[0]
        if name.startswith(_WAITS):
            self.found.append(name)
        return func(*args, **(kwargs or {}))


def waits_of(model, inputs):
    with Waits() as waits:
        losses = model.loss(inputs)
        total, _ = model.parse_losses(losses)
        total.backward()
    return waits.found


@pytest.mark.parametrize('name', CASES)
def test_no_operator_waits(name):
    cfg, shape = CASES[name]
    assert waits_of(MODELS.build(cfg), torch.randn(shape)) == []


@pytest.mark.parametrize('name', CASES)
def test_a_step_without_values(name):
    """The meta device has shapes alone: what reads a value, or was left on the CPU, fails."""
    cfg, shape = CASES[name]
    model = MODELS.build(cfg).to('meta')
    clips = torch.empty(shape, dtype=torch.uint8, device='meta')
    data = model.data_preprocessor(dict(inputs=[clips], data_samples=[]), True)
    loss, _ = model.parse_losses(model(**data, mode='loss'))
    loss.backward()
    assert all(p.grad.is_meta for p in model.parameters() if p.requires_grad)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU: torch watches its own')
@pytest.mark.parametrize('name', CASES)
def test_torch_sees_no_wait_on_a_gpu(name):
    cfg, shape = CASES[name]
    model = MODELS.build(cfg).cuda()
    clips = torch.randint(0, 256, shape, dtype=torch.uint8).pin_memory()
    for mode in ('default', 'default', 'error'):  # the first steps allocate
        torch.cuda.set_sync_debug_mode(mode)
        try:
            data = model.data_preprocessor(dict(inputs=[clips], data_samples=[]), True)
            loss, _ = model.parse_losses(model(**data, mode='loss'))
            loss.backward()
        finally:
            torch.cuda.set_sync_debug_mode('default')


@pytest.mark.parametrize('spoil', [
    lambda loss: loss * float(loss.detach()),
    lambda loss: loss if loss > 0 else -loss,
    lambda loss: loss[loss.isfinite()].sum(),
], ids=['number', 'branch', 'mask'])  # yapf: disable
def test_that_would_be_noticed(spoil, monkeypatch):
    model = MODELS.build(videomae())
    right = model.reconstruction_loss
    monkeypatch.setattr(model, 'reconstruction_loss', lambda *arguments: spoil(right(*arguments)))
    assert waits_of(model, torch.randn(CLIPS))
