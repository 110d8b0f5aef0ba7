from .clips import ClipPreprocessor
from .padded_clips import PaddedClipPreprocessor

__all__ = ['ClipPreprocessor', 'PaddedClipPreprocessor']
