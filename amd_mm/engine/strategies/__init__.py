"""Training with sharded weights, for MMEngine's ``FlexibleRunner``.

Not imported by :mod:`amd_mm.engine`: the runtime config that uses it,
``_base_/runtime/fsdp.py``, names it in its ``custom_imports``.
"""

from .fsdp import FSDPStrictLoadHook, GuardedFSDPStrategy, wrap_classes

__all__ = ['FSDPStrictLoadHook', 'GuardedFSDPStrategy', 'wrap_classes']
