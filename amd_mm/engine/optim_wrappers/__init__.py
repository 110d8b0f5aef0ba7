from .guarded import GuardedOptimWrapper, NonFiniteError
from .trainable_only import TrainableOnlyConstructor

__all__ = ['GuardedOptimWrapper', 'NonFiniteError', 'TrainableOnlyConstructor']
