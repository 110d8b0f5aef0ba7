from .hooks import (
    AtomicCheckpointHook,
    DeferredRuntimeInfoHook,
    FiniteLossHook,
    RunSummaryHook,
    StepSeedHook,
    ThroughputHook,
    UnreadableVideosHook,
)
from .optim_wrappers import GuardedOptimWrapper, NonFiniteError, TrainableOnlyConstructor
from .optimizers import fused_adamw

__all__ = [
    'AtomicCheckpointHook',
    'DeferredRuntimeInfoHook',
    'FiniteLossHook',
    'GuardedOptimWrapper',
    'NonFiniteError',
    'RunSummaryHook',
    'StepSeedHook',
    'ThroughputHook',
    'TrainableOnlyConstructor',
    'UnreadableVideosHook',
    'fused_adamw',
]
