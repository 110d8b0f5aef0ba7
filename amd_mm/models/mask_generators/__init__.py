from .generators import (
    AsymmetricRandomMaskGenerator,
    AsymmetricTubeMaskGenerator,
    StepSeededGenerator,
    running_cells,
)
from .partition import TokenPartition

__all__ = [
    'AsymmetricRandomMaskGenerator',
    'AsymmetricTubeMaskGenerator',
    'StepSeededGenerator',
    'TokenPartition',
    'running_cells',
]
