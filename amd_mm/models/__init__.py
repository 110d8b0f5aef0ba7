from .algorithms import (
    AMD,
    AlignedClassifier,
    AlignedMoCoV3,
    LogitDistilledClassifier,
    MaskedAutoencoder,
    TinyMIM,
)
from .backbones import FeatureMapVisionTransformer, ImageVisionTransformer, VideoVisionTransformer
from .data_preprocessors import ClipPreprocessor, PaddedClipPreprocessor
from .heads import (
    FeatureAlignmentLoss,
    FeatureTargetHead,
    PixelReconstructionHead,
    TokenRelationHead,
    TokenRelationLoss,
)
from .mask_generators import (
    AsymmetricRandomMaskGenerator,
    AsymmetricTubeMaskGenerator,
    TokenPartition,
)
from .necks import (
    DirectAlignment,
    GenerationAlignment,
    ParallelAlignment,
    PixelDecoder,
    SerialAlignment,
)
from .recognition import BatchedAVARoIHead, FrozenBackboneRecognizer, LinearProbeHead
from .teachers import FrozenClassifier, FrozenTeacher, RelationTeacher

__all__ = [
    'AMD',
    'AlignedClassifier',
    'AlignedMoCoV3',
    'AsymmetricRandomMaskGenerator',
    'AsymmetricTubeMaskGenerator',
    'BatchedAVARoIHead',
    'ClipPreprocessor',
    'DirectAlignment',
    'FeatureAlignmentLoss',
    'FeatureMapVisionTransformer',
    'FeatureTargetHead',
    'FrozenBackboneRecognizer',
    'FrozenClassifier',
    'FrozenTeacher',
    'GenerationAlignment',
    'ImageVisionTransformer',
    'LinearProbeHead',
    'LogitDistilledClassifier',
    'MaskedAutoencoder',
    'PaddedClipPreprocessor',
    'ParallelAlignment',
    'PixelDecoder',
    'PixelReconstructionHead',
    'RelationTeacher',
    'SerialAlignment',
    'TinyMIM',
    'TokenPartition',
    'TokenRelationHead',
    'TokenRelationLoss',
    'VideoVisionTransformer',
]
