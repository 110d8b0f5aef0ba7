from .algorithms import AMD, MaskedAutoencoder
from .backbones import VideoVisionTransformer
from .heads import PixelReconstructionHead
from .losses import FeatureAlignmentLoss
from .mask_generators import (AsymmetricRandomMaskGenerator,
                              AsymmetricTubeMaskGenerator, TokenPartition)
from .necks import (DirectAlignment, GenerationAlignment, ParallelAlignment,
                    PixelDecoder, SerialAlignment)
from .teachers import FrozenTeacher

__all__ = [
    'AMD', 'AsymmetricRandomMaskGenerator', 'AsymmetricTubeMaskGenerator',
    'DirectAlignment', 'FeatureAlignmentLoss', 'FrozenTeacher',
    'GenerationAlignment', 'MaskedAutoencoder', 'ParallelAlignment',
    'PixelDecoder', 'PixelReconstructionHead', 'SerialAlignment',
    'TokenPartition', 'VideoVisionTransformer'
]
