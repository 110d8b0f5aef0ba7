from .hooks import (
    AtomicCheckpointHook,
    FiniteLossHook,
    RunSummaryHook,
    StepSeedHook,
    StopOnSignalHook,
    ThroughputHook,
    UnreadableVideosHook,
)
from .optim_wrapper import GuardedOptimWrapper, NonFiniteError, TrainableOnlyConstructor

__all__ = [
    'AtomicCheckpointHook',
    'FiniteLossHook',
    'GuardedOptimWrapper',
    'NonFiniteError',
    'RunSummaryHook',
    'StepSeedHook',
    'StopOnSignalHook',
    'ThroughputHook',
    'TrainableOnlyConstructor',
    'UnreadableVideosHook',
]
