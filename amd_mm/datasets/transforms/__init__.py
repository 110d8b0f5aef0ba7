"""Data transforms: opening, sampling, decoding, augmenting, views."""
from .augmentation import RandAugment
from .erasing import RandomErasing
from .loading import CheckedRawFrameDecode, VideoDecode, VideoInit
from .repeated_views import RepeatedViews
from .sampling import SparseSampleFrames

__all__ = [
    'CheckedRawFrameDecode', 'RandAugment', 'RandomErasing', 'RepeatedViews',
    'SparseSampleFrames', 'VideoDecode', 'VideoInit'
]
