from .alignment import (
    Aligned,
    AlignmentNeck,
    DirectAlignment,
    GenerationAlignment,
    ParallelAlignment,
    SerialAlignment,
)
from .mask_token_blocks import MaskTokenBlocks, PixelDecoder

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
