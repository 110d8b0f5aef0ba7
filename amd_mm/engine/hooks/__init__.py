from .atomic_checkpoint import AtomicCheckpointHook
from .finite_loss import FiniteLossHook
from .resume_epoch import ResumeEpochHook
from .run_summary import RunSummaryHook
from .step_seed import StepSeedHook
from .stop_signals import StopOnSignalHook
from .strict_load import StrictLoadHook
from .throughput import ThroughputHook
from .unreadable_videos import UnreadableVideosHook
from .visualization import ReconstructionVisualizationHook

__all__ = [
    'AtomicCheckpointHook',
    'FiniteLossHook',
    'ReconstructionVisualizationHook',
    'ResumeEpochHook',
    'RunSummaryHook',
    'StepSeedHook',
    'StopOnSignalHook',
    'StrictLoadHook',
    'ThroughputHook',
    'UnreadableVideosHook',
]

# The custom_hooks of our configs, in their order (configs/_base_/runtime/pretrain.py).
RUNTIME_HOOKS = (
    'StrictLoadHook',
    'StepSeedHook',
    'FiniteLossHook',
    'UnreadableVideosHook',
    'ThroughputHook',
    'RunSummaryHook',
    'ResumeEpochHook',
    'StopOnSignalHook',
)
