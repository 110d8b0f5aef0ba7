from .guarded import GuardedOptimWrapper, NonFiniteError

__all__ = ['GuardedOptimWrapper', 'NonFiniteError']
