"""Data transforms: opening, decoding, repeated views."""
from .loading import CheckedRawFrameDecode, VideoDecode, VideoInit
from .repeated_views import RepeatedViews

__all__ = [
    'CheckedRawFrameDecode', 'RepeatedViews', 'VideoDecode', 'VideoInit'
]
