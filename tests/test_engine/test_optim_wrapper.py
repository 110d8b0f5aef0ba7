"""Precision, and the check of loss and gradients."""

import math

import pytest
import torch
from amd_mm.engine import GuardedOptimWrapper, NonFiniteError, optim_wrapper
from mmengine.optim import OptimWrapper, build_optim_wrapper
from torch import nn

from .toy import ToyData, toy_runner

INF, NAN = math.inf, math.nan


def make(precision='fp32', **arguments):
    torch.manual_seed(0)
    model = nn.Linear(4, 4)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    return model, GuardedOptimWrapper(optimizer, precision=precision, **arguments)


def copies(model):
    return [parameter.detach().clone() for parameter in model.parameters()]


def same(model, before):
    return all(map(torch.equal, copies(model), before))


def test_unknown_precision_is_refused():
    with pytest.raises(ValueError, match="precision='fp16'.*AmpOptimWrapper"):
        make('fp16')


def test_builds_from_a_config_without_touching_it():
    cfg = dict(
        type='amd_mm.GuardedOptimWrapper',
        optimizer=dict(type='AdamW', lr=1.0),
        clip_grad=dict(type='norm', max_norm=0.02),
    )
    build_optim_wrapper(nn.Linear(2, 2), cfg)
    assert cfg['clip_grad'] == dict(type='norm', max_norm=0.02)


@pytest.mark.parametrize('precision, dtype', [('bf16', torch.bfloat16), ('fp32', torch.float32)])
def test_precision_of_the_forward(precision, dtype):
    model, wrapper = make(precision)
    with wrapper.optim_context(model):
        out = model(torch.ones(1, 4))
    assert out.dtype == dtype
    assert model.weight.dtype == torch.float32
    assert model(torch.ones(1, 4)).dtype == torch.float32  # no longer


@pytest.mark.parametrize('clip', [None, dict(max_norm=0.5), dict(type='value', clip_value=0.1)])
def test_steps_are_those_of_the_stock_wrapper(clip):
    results = []
    for cls in (GuardedOptimWrapper, OptimWrapper):
        torch.manual_seed(0)
        model = nn.Linear(4, 4)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
        arguments = dict(clip_grad=clip and dict(clip), accumulative_counts=2)
        if cls is GuardedOptimWrapper:
            arguments['precision'] = 'fp32'
        wrapper = cls(optimizer, **arguments)
        for step in range(6):
            wrapper.update_params(model(torch.full((1, 4), step + 1.0)).sum())
        results.append((copies(model), wrapper.state_dict()))
    (mine, my_state), (stock, stock_state) = results
    assert all(map(torch.equal, mine, stock))
    assert set(my_state) == set(stock_state)


@pytest.mark.parametrize('bad', [NAN, INF, -INF])
def test_a_bad_loss_stops_before_the_step_and_names_the_videos(bad):
    model, wrapper = make(clip_grad=dict(max_norm=1.0), accumulative_counts=2)
    for _ in range(3):  # the gradients of the last are dropped too
        wrapper.update_params(model(torch.ones(1, 4)).sum())
    before, state = copies(model), wrapper.optimizer.state_dict()
    wrapper.batch_names = ['a.mp4', 'a.mp4', 'b c.mp4']
    with pytest.raises(NonFiniteError, match=r"\['a.mp4', 'b c.mp4'\]"):
        wrapper.update_params(model(torch.ones(1, 4)).sum() * bad)
    assert same(model, before)
    assert wrapper.optimizer.state_dict() == state
    assert all(p.grad is None for p in model.parameters())


class InfiniteGradient(torch.autograd.Function):
    """Finite forward, infinite backward."""

    @staticmethod
    def forward(ctx, value):
        return value.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * INF


def test_a_bad_gradient_norm_stops_before_the_step():
    model, wrapper = make(clip_grad=dict(max_norm=1.0))
    before = copies(model)
    wrapper.batch_names = ['bad.mp4']
    with pytest.raises(NonFiniteError, match='gradient norm.*bad.mp4'):
        wrapper.update_params(InfiniteGradient.apply(model(torch.ones(1, 4)).sum()))
    assert same(model, before)
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize('fast, precision', [(True, 'bf16'), (False, 'fp32')])
def test_auto_precision_follows_the_device(monkeypatch, fast, precision):
    monkeypatch.setattr(optim_wrapper, 'supports_fast_bf16', lambda device: fast)
    assert make('auto')[1].precision == precision
    assert make('bf16')[1].precision == 'bf16'


def test_trainable_only_constructor_leaves_frozen_modules_out():
    model = nn.Sequential(nn.Linear(2, 2).requires_grad_(False), nn.Linear(2, 2))
    cfg = dict(constructor='amd_mm.TrainableOnlyConstructor', optimizer=dict(type='SGD', lr=1.0))
    groups = build_optim_wrapper(model, cfg).optimizer.param_groups
    assert [one for group in groups for one in group['params']] == list(model[1].parameters())


def test_a_run_stops_at_the_bad_batch(tmp_path):
    runner = toy_runner(tmp_path)
    runner._train_dataloader['dataset'] = ToyData(bad=(5,))
    with pytest.raises(
        NonFiniteError,
        match=r'iteration 2 .*rank 0: loss nan, videos '
        r"\['video 4.mp4', 'video 5.mp4'\]",
    ):
        runner.train()
    model = runner.model
    assert all(torch.isfinite(p).all() for p in model.parameters())
    steps = {int(s['step']) for s in runner.optim_wrapper.optimizer.state.values()}
    assert steps == {2}
    assert not list(tmp_path.glob('*.pth'))


def test_another_wrapper_gets_a_warning(tmp_path):
    runner = toy_runner(
        tmp_path,
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        train_cfg=dict(by_epoch=True, max_epochs=1),
    )
    runner.train()
    (log,) = tmp_path.glob('*/*.log')
    assert log.read_text().count('OptimWrapper does not check the loss') == 1
