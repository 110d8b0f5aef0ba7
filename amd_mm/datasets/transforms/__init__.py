"""Data transforms: opening, sampling, decoding, augmenting, views."""

from .augmentation import RandAugment
from .ava_clips import SampleAVAClip
from .erasing import RandomErasing
from .images import LoadImage
from .loading import CheckedRawFrameDecode, VideoDecode, VideoInit
from .proposals import GroundTruthProposals
from .repeated_views import RepeatedViews
from .resizing import ResizeClip
from .sampling import SparseSampleFrames, clips_for_testing

__all__ = [
    'CheckedRawFrameDecode',
    'GroundTruthProposals',
    'LoadImage',
    'RandAugment',
    'RandomErasing',
    'RepeatedViews',
    'ResizeClip',
    'SampleAVAClip',
    'SparseSampleFrames',
    'VideoDecode',
    'VideoInit',
    'clips_for_testing',
]
