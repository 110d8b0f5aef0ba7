from .hooks import (
    AtomicCheckpointHook,
    FiniteLossHook,
    ResumeEpochHook,
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
    'ResumeEpochHook',
    'RunSummaryHook',
    'StepSeedHook',
    'StopOnSignalHook',
    'ThroughputHook',
    'TrainableOnlyConstructor',
    'UnreadableVideosHook',
]
