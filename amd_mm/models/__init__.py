from .algorithms import AMD, MaskedAutoencoder, TinyMIM
from .backbones import VideoVisionTransformer
from .heads import (FeatureTargetHead, LinearProbeHead,
                    PixelReconstructionHead, TokenRelationHead)
from .losses import FeatureAlignmentLoss, TokenRelationLoss
from .mask_generators import (AsymmetricRandomMaskGenerator,
                              AsymmetricTubeMaskGenerator, TokenPartition)
from .necks import (DirectAlignment, GenerationAlignment, ParallelAlignment,
                    PixelDecoder, SerialAlignment)
from .recognizers import FrozenBackboneRecognizer
from .teachers import FrozenTeacher, RelationTeacher

__all__ = [
    'AMD', 'AsymmetricRandomMaskGenerator', 'AsymmetricTubeMaskGenerator',
    'DirectAlignment', 'FeatureAlignmentLoss', 'FeatureTargetHead',
    'FrozenBackboneRecognizer', 'FrozenTeacher', 'GenerationAlignment',
    'LinearProbeHead', 'MaskedAutoencoder', 'ParallelAlignment',
    'PixelDecoder', 'PixelReconstructionHead', 'RelationTeacher',
    'SerialAlignment', 'TinyMIM', 'TokenPartition', 'TokenRelationHead',
    'TokenRelationLoss', 'VideoVisionTransformer'
]
