"""AMD on the GPU, or on the CPU where there is none: published numbers, bfloat16, flash attention."""

import pytest
import torch
from amd_mm.models import AsymmetricTubeMaskGenerator, TokenPartition
from torch.nn.functional import cosine_similarity

from tests.golden import VIDEO, assert_close, golden_amd

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
LOSSES = ('loss_rec', 'loss_direct', 'loss_generation')


@pytest.fixture(scope='module')
def video():
    """Golden numbers, and model, clip and partition on the device."""
    golden, model, clip, partition = golden_amd()
    model, clip = model.to(DEVICE), clip.to(DEVICE)
    sets = partition.visible, partition.teacher_only, partition.hidden
    return golden, model, clip, TokenPartition(*(one.to(DEVICE) for one in sets))


def gradients(model, losses):
    model.zero_grad()
    model.parse_losses(losses)[0].backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def test_golden_losses(video):
    golden, model, clip, partition = video
    losses = model.loss(clip, partition=partition)
    for name in LOSSES:
        assert_close(losses[name].cpu(), golden[name])


def test_bfloat16_near_float32(video):
    golden, model, clip, partition = video
    exact = gradients(model, model.loss(clip, partition=partition))
    with torch.autocast(DEVICE, torch.bfloat16):
        losses = model.loss(clip, partition=partition)
    for name in LOSSES:
        assert losses[name].item() == pytest.approx(float(golden[name]), rel=2e-2)
    assert cosine_similarity(exact, gradients(model, losses), dim=0) > 0.995


def test_masks_of_a_seed():
    """Equal on a device; a GPU draws other numbers than a CPU."""
    first, second = (AsymmetricTubeMaskGenerator(0.9, 0.75, seed=3) for _ in range(2))
    grid = (8, 14, 14)
    one, two = first(2, grid, DEVICE), second(2, grid, DEVICE)
    assert torch.equal(one.visible, two.visible) and torch.equal(one.hidden, two.hidden)
    assert not torch.equal(one.visible, first(2, grid, DEVICE).visible)


def test_flash_attention_serves_every_block(video):
    attention = pytest.importorskip('torch.nn.attention')
    _, model, _, _ = video
    clip = torch.randn(VIDEO, device=DEVICE)
    with (
        attention.sdpa_kernel(attention.SDPBackend.FLASH_ATTENTION),  # any other is an error
        torch.autocast(DEVICE, torch.bfloat16),
    ):
        losses = model.loss(clip)
    assert gradients(model, losses).isfinite().all()
