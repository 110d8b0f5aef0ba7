from collections.abc import Callable
from typing import Any

from torch import nn

__all__ = ['CarriesTeacher']


class CarriesTeacher(nn.Module):
    """A model with a teacher that is no sub-module of it.

    The teacher is in no ``state_dict``, optimiser, DistributedDataParallel or
    EMA; ``.to()``, ``.cuda()`` and the like reach it. To stand before the
    model among the base classes.
    """

    teacher: Any  # of a class that the model's losses know

    def carry(self, teacher: nn.Module) -> None:
        """Take ``teacher`` along as ``self.teacher``."""
        # Past nn.Module's __setattr__, which would register a sub-module.
        object.__setattr__(self, 'teacher', teacher)

    def _apply(self, fn: Callable, recurse: bool = True) -> 'CarriesTeacher':
        super()._apply(fn, recurse)
        self.teacher._apply(fn)
        return self
