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
from .frame_teachers import FrameTeacher, ImageTeacher, TimmTeacher, TransformersTeacher
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
    MaskedTokenDecoder,
    ParallelAlignment,
    PixelDecoder,
    SerialAlignment,
)
from .recognition import BatchedAVARoIHead, FrozenBackboneRecognizer, LinearProbeHead
from .teachers import FrozenClassifier, FrozenTeacher, RelationTeacher, Teacher

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
    'FrameTeacher',
    'FrozenBackboneRecognizer',
    'FrozenClassifier',
    'FrozenTeacher',
    'GenerationAlignment',
    'ImageTeacher',
    'ImageVisionTransformer',
    'LinearProbeHead',
    'LogitDistilledClassifier',
    'MaskedAutoencoder',
    'MaskedTokenDecoder',
    'PaddedClipPreprocessor',
    'ParallelAlignment',
    'PixelDecoder',
    'PixelReconstructionHead',
    'RelationTeacher',
    'SerialAlignment',
    'Teacher',
    'TimmTeacher',
    'TinyMIM',
    'TokenPartition',
    'TokenRelationHead',
    'TokenRelationLoss',
    'TransformersTeacher',
    'VideoVisionTransformer',
]
