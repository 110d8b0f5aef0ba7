"""Asymmetric Masked Distillation for small vision transformers, on MMEngine.

Importing this package is light: models, datasets and the OpenMMLab codebases
they build on are imported by :mod:`amd_mm.registry` when a config names them.
"""

from importlib import import_module
from typing import Any

from .compat import apply_import_fixes
from .version import __version__

apply_import_fixes()

# Public name -> the module that has it, which is imported at the first use.
_MODULES = dict(
    Model='inference',
    distill='distillation',
    embed='evaluation.features',
    fetch='zoo',
    finetune='finetuning',
    list_configs='zoo',
    list_models='zoo',
    load='inference',
    model_sizes='sizes',
)

__all__ = ['__version__', *_MODULES]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f'module {__name__} has no attribute {name}')
    return getattr(import_module(f'.{_MODULES[name]}', __name__), name)


def __dir__() -> list[str]:
    return __all__
