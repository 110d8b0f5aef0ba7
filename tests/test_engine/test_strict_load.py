"""The strict loader in MMEngine's runner: which weights may be missing, and what a tool advises."""

import re
from types import SimpleNamespace

import pytest
import torch
from amd_mm.checkpoints import CheckpointMismatchError, from_amd_mm
from amd_mm.engine.hooks import StrictLoadHook
from mmengine.runner import BaseLoop
from torch import nn

from tests.tiny import amd, build


class Loop(BaseLoop):
    def __init__(self):
        pass

    def run(self):
        pass


def model():
    parts = dict(backbone=nn.ModuleDict(dict(fc_norm=nn.LayerNorm(2), proj=nn.Linear(2, 2))))
    return nn.ModuleDict(dict(parts, cls_head=nn.Linear(2, 3)))


def runner_of(target, runs):
    return SimpleNamespace(
        model=target,
        _load_from='work/x.pth',
        _resume=runs == 'resume',
        _test_loop=None,
        _train_loop=dict(type='EpochBasedTrainLoop') if runs == 'test' else Loop(),
    )


def load(runs, lacking):
    """Load a checkpoint of ``model()`` that lacks the weights below a name."""
    target = model()
    state = {
        name: one for name, one in model().state_dict().items() if not name.startswith(lacking)
    }
    checkpoint = dict(state_dict=state, meta=dict(epoch=1))
    StrictLoadHook().after_load_checkpoint(runner_of(target, runs), checkpoint)
    assert set(checkpoint['state_dict']) == set(target.state_dict())
    assert all(torch.equal(target.state_dict()[name], one) for name, one in state.items())


@pytest.mark.parametrize(
    'runs, lacking, advice',
    [
        ('train', 'cls_head', None),
        ('train', 'backbone.fc_norm', None),
        ('train', 'backbone.proj', 'has the whole backbone'),
        ('test', 'cls_head', 'trained with this config'),
        ('resume', 'cls_head', '--cfg-options load_from=work/x.pth, without --resume'),
    ],
)
def test_missing_weights(runs, lacking, advice):
    if advice is None:
        load(runs, lacking)
        return
    with pytest.raises(CheckpointMismatchError, match=f'work/x.pth.*(.|\n)*{advice}') as error:
        load(runs, lacking)
    assert 'allow_missing' not in str(error.value)  # an option of Python, not of the tools


def test_pre_training_continues_from_a_public_amd_file():
    """It lacks the generators' mask tokens, and nothing else."""
    source, target = build(amd()), build(amd())
    tokens = [name for name in source.state_dict() if re.search('generators.*mask_token', name)]
    kept = {name: target.state_dict()[name].clone() for name in tokens}
    StrictLoadHook().after_load_checkpoint(
        runner_of(target, 'train'), dict(from_amd_mm(source.state_dict(), 'amd').state)
    )
    for name, value in target.state_dict().items():
        assert torch.equal(value, kept.get(name, source.state_dict()[name])), name
