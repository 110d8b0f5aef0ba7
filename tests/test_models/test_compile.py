"""compile_blocks: the same losses and names, one graph for a block shape."""

import shutil

import pytest
import torch
from amd_mm.registry import MODELS
from torch import nn

from tests.tiny import backbone
from tests.tiny_image import image_amd, image_backbone

pytestmark = pytest.mark.no_cover
# Before, weights are part of a graph: no two blocks share one.
SHARES_GRAPHS = torch.__version__ >= (2, 5)


@pytest.fixture(autouse=True)
def fresh_compiler():
    """Graphs of other tests are not counted."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    yield
    torch._dynamo.reset()


@pytest.fixture
def without_codegen(monkeypatch):
    """Trace as usual, run the graphs as they are: seconds instead of minutes."""
    compile_module = nn.Module.compile

    def compile_eagerly(self, **options):
        compile_module(self, backend='aot_eager', **options)

    monkeypatch.setattr(nn.Module, 'compile', compile_eagerly)


def is_compiled(module):
    return module._compiled_call_impl is not None


def blocks_of(*modules):
    """MMAction2's blocks and MMPretrain's."""
    return [
        block
        for module in modules
        for block in module.modules()
        if type(block).__name__ in ('Block', 'TransformerEncoderLayer')
    ]


@pytest.fixture
def pair(without_codegen):
    """The same model twice, the second one compiled: blocks of MMPretrain and of MMAction2."""
    cfg = image_amd(rec_weight=0.0, decoder=None, head=None)
    models = []
    for compiled in (False, True):
        torch.manual_seed(0)
        models.append(MODELS.build(dict(cfg, compile_blocks=compiled)))
        models[-1].init_weights()
    models[1].load_state_dict(models[0].state_dict())
    return models


def losses_and_gradients(model, inputs):
    torch.manual_seed(2)  # the masks
    losses = model.loss(inputs)
    sum(value for name, value in losses.items() if 'loss' in name).backward()
    gradients = {
        name: parameter.grad
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }
    return losses, gradients


def test_same_losses_gradients_and_names(pair):
    inputs = torch.randn(2, 3, 64, 64)
    plain, compiled = (losses_and_gradients(model, inputs) for model in pair)
    torch.testing.assert_close(compiled, plain, rtol=1e-4, atol=1e-6)
    assert list(pair[0].state_dict()) == list(pair[1].state_dict())
    for model, expected in zip(pair, (False, True)):
        blocks = blocks_of(model, model.teacher)
        assert {is_compiled(block) for block in blocks} == {expected}
    graphs = torch._dynamo.utils.counters['stats']['unique_graphs']
    assert graphs >= 1
    if SHARES_GRAPHS:
        assert graphs < len(blocks)


@pytest.mark.skipif(not shutil.which('g++'), reason='no C++ compiler')
def test_generated_code_gives_the_same():
    plain = MODELS.build(backbone(depth=1))
    compiled = MODELS.build(dict(backbone(depth=1), compile_blocks=True))
    compiled.load_state_dict(plain.state_dict())
    clip = torch.randn(1, 3, 8, 64, 64)
    outputs, gradients = [], []
    for model in (plain, compiled):
        outputs.append(model(clip))
        outputs[-1].square().sum().backward()
        gradients.append([one.grad for one in model.blocks.parameters()])
    graphs = torch._dynamo.utils.counters['stats']['unique_graphs']
    assert graphs == 1 or (graphs and not SHARES_GRAPHS)
    torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-3, atol=1e-5)


def test_backbones_of_recognisers_have_the_switch(monkeypatch):
    for cfg in (backbone(), image_backbone()):
        assert all(map(is_compiled, blocks_of(MODELS.build(dict(cfg, compile_blocks=True)))))
    monkeypatch.delattr(nn.Module, 'compile')
    with pytest.raises(RuntimeError, match='torch 2.2'):
        MODELS.build(dict(backbone(), compile_blocks=True))
