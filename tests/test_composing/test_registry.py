"""The scope ``amd_mm`` is complete, so that MMEngine never falls back."""

import pytest
from amd_mm import registry as ours
from mmengine import registry as root
from mmengine.registry import DefaultScope, Registry

ROOTS = {name: value for name, value in vars(root).items() if isinstance(value, Registry)}
# Made where the strategies are: they need a recent PyTorch.
ELSEWHERE = {'STRATEGIES'}


@pytest.mark.parametrize('name', sorted(set(ROOTS) - ELSEWHERE))
def test_every_registry_of_mmengine_has_one_of_our_scope(name: str) -> None:
    child = getattr(ours, name)
    assert child.parent is ROOTS[name] and child.scope == 'amd_mm'
    assert child.name == ROOTS[name].name


def test_mmengine_s_names_are_found_from_our_scope(capsys: pytest.CaptureFixture) -> None:
    """For instance an initialiser, which models build without a scope."""
    with DefaultScope.overwrite_default_scope('amd_mm'):
        found = root.WEIGHT_INITIALIZERS.build(dict(type='Constant', val=1.0))
        with root.MODELS.switch_scope_and_registry(None) as registry:
            assert registry is ours.MODELS
    assert type(found).__name__ == 'ConstantInit'
    printed = capsys.readouterr()
    assert 'Failed to search registry' not in printed.out + printed.err
