from .batched_ava import BatchedAVARoIHead

__all__ = ['BatchedAVARoIHead']
