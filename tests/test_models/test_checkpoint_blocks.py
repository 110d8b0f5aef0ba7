"""with_cp: the same gradients from less memory."""

import copy

import pytest
import torch

from tests import tiny
from tests.tiny_image import image_amd, image_backbone

# A random drop path has to fall in the backward pass as it fell in the forward pass.
DROPS = dict(drop_path_rate=0.5)
CASES = dict(
    amd=tiny.amd(backbone=tiny.backbone(**DROPS)),
    image_amd=image_amd(backbone=image_backbone(**DROPS)),
    backbone=dict(tiny.backbone(**DROPS), use_mean_pooling=True),
    image_backbone=image_backbone(**DROPS),
    rotary=dict(tiny.backbone(**DROPS, pos_embed_type='rope_3d'), use_mean_pooling=True),
)


def step(cfg):
    """Gradients, and the bytes that autograd keeps besides the weights."""
    model = tiny.build(cfg).train()
    shape = (64, 64) if 'ImageVision' in str(cfg) else (8, 64, 64)
    weights = {one.untyped_storage().data_ptr() for one in model.parameters()}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    torch.manual_seed(1)
    inputs = torch.randn(8, 3, *shape)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        if 'backbone' in cfg:
            losses = model(inputs, [], mode='loss')
            loss = sum(value for name, value in losses.items() if 'loss' in name)
        else:
            out = model(inputs)
            loss = (out[-1] if isinstance(out, tuple) else out).square().sum()
    loss.backward()
    gradients = {name: one.grad for name, one in model.named_parameters()}
    return gradients, sum(size for place, size in kept.items() if place not in weights)


@pytest.mark.parametrize('name', CASES)
def test_the_gradients_are_the_same_and_memory_is_smaller(name):
    expected, usual = step(CASES[name])
    gradients, smaller = step(dict(CASES[name], with_cp=True))
    assert gradients.keys() == expected.keys()
    for key, value in expected.items():
        if value is None:
            assert gradients[key] is None
        else:
            torch.testing.assert_close(gradients[key], value, rtol=1e-5, atol=1e-7)
    assert smaller < 0.6 * usual, (smaller, usual)


def test_a_copy_of_a_model_runs_its_own_blocks():
    """As the copy of EMAHook."""
    model = tiny.build(dict(tiny.backbone(), with_cp=True, use_mean_pooling=True))
    other = copy.deepcopy(model)
    clips = torch.randn(1, 3, 8, 64, 64)
    with torch.no_grad():
        for one in model.blocks.parameters():
            one.zero_()
        assert not torch.equal(model(clips), other(clips))
