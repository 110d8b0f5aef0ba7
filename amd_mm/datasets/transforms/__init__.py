"""Data transforms: opening, sampling, decoding, augmenting, views."""

from .augmentation import RandAugment, RandomErasing
from .ava import GroundTruthProposals, SampleAVAClip
from .loading import CheckedRawFrameDecode, LoadImage, VideoDecode, VideoInit
from .sampling import PerSecond, SampleFramesAtRate, SparseSampleFrames, Stride, clips_for_testing
from .views import RepeatedViews, ResizeClip

__all__ = [
    'CheckedRawFrameDecode',
    'GroundTruthProposals',
    'LoadImage',
    'PerSecond',
    'RandAugment',
    'RandomErasing',
    'RepeatedViews',
    'ResizeClip',
    'SampleAVAClip',
    'SampleFramesAtRate',
    'SparseSampleFrames',
    'Stride',
    'VideoDecode',
    'VideoInit',
    'clips_for_testing',
]
