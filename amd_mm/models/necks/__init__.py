from .alignment import (
    Aligned,
    AlignmentNeck,
    DirectAlignment,
    GenerationAlignment,
    ParallelAlignment,
    SerialAlignment,
)
from .masked_decoder import MaskTokenBlocks, PixelDecoder

__all__ = [
    'Aligned',
    'AlignmentNeck',
    'DirectAlignment',
    'GenerationAlignment',
    'MaskTokenBlocks',
    'ParallelAlignment',
    'PixelDecoder',
    'SerialAlignment',
]
