"""FusedAdamW: AdamW's result, from any of MMEngine's ways to build it."""

import copy

import pytest
import torch
from amd_mm.engine import optimizers
from mmengine.optim import build_optim_wrapper
from torch import nn

BETAS = (0.9, 0.95)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.GELU(), nn.LayerNorm(16), nn.Linear(16, 3))


def build(model: nn.Module, kind: str):
    return build_optim_wrapper(
        model,
        dict(
            type='amd_mm.GuardedOptimWrapper',
            precision='fp32',
            optimizer=dict(type=kind, lr=0.01, betas=BETAS, weight_decay=0.1),
            paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
        ),
    )


def train(model: nn.Module, wrapper, steps: int) -> None:
    for number in range(steps):
        torch.manual_seed(number)
        wrapper.update_params(model(torch.randn(8, 6)).square().mean())


def same(one: nn.Module, other: nn.Module) -> None:
    for mine, theirs in zip(one.parameters(), other.parameters()):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-7)


def test_twenty_steps_as_torch_makes_them():
    models = [network(), network()]
    start = copy.deepcopy(models[0])
    for model, kind in zip(models, ('mmengine.AdamW', 'amd_mm.FusedAdamW')):
        wrapper = build(model, kind)
        train(model, wrapper, 20)
    assert type(wrapper.optimizer) is torch.optim.AdamW
    assert len({group['weight_decay'] for group in wrapper.param_groups}) == 2
    same(*models)
    with pytest.raises(AssertionError):
        same(start, models[0])


@pytest.mark.parametrize(
    'first, second',
    [('mmengine.AdamW', 'amd_mm.FusedAdamW'), ('amd_mm.FusedAdamW', 'mmengine.AdamW')],
)
def test_a_run_goes_on_with_the_other(first, second):
    whole, halves = network(), network()
    train(whole, build(whole, 'mmengine.AdamW'), 6)
    wrapper = build(halves, first)
    train(halves, wrapper, 3)
    state = wrapper.state_dict()
    wrapper = build(halves, second)
    wrapper.load_state_dict(state)
    for number in range(3, 6):
        torch.manual_seed(number)
        wrapper.update_params(halves(torch.randn(8, 6)).square().mean())
    same(whole, halves)


def test_where_torch_cannot_fuse_it_is_plain(monkeypatch):

    class OlderAdamW(torch.optim.AdamW):
        def __init__(self, params, fused=None, **other):
            if fused:
                raise RuntimeError(
                    '`fused=True` requires all the params to be CUDA, floating point Tensor'
                )
            super().__init__(params, fused=fused, **other)

    monkeypatch.setattr(optimizers, 'AdamW', OlderAdamW)
    models = [network(), network()]
    for model, kind in zip(models, ('mmengine.AdamW', 'amd_mm.FusedAdamW')):
        train(model, build(model, kind), 3)
    same(*models)


def test_groups_and_bare_parameters():
    model = network()
    bare = optimizers.fused_adamw(model.parameters(), lr=0.1)
    assert len(bare.param_groups[0]['params']) == 6
    groups = optimizers.fused_adamw([dict(params=model.parameters(), lr=0.2)])
    assert len(groups.param_groups[0]['params']) == 6
    assert groups.param_groups[0]['lr'] == 0.2
