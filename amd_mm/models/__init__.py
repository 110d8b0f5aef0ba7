from .algorithms import AMD, AlignedMoCoV3, MaskedAutoencoder, TinyMIM
from .backbones import FeatureMapVisionTransformer, ImageVisionTransformer, VideoVisionTransformer
from .classifiers import AlignedClassifier, LogitDistilledClassifier
from .data_preprocessors import ClipPreprocessor, PaddedClipPreprocessor
from .heads import FeatureTargetHead, LinearProbeHead, PixelReconstructionHead, TokenRelationHead
from .losses import FeatureAlignmentLoss, TokenRelationLoss
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
from .recognizers import FrozenBackboneRecognizer
from .roi_heads import BatchedAVARoIHead
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
