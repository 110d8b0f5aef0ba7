from .padded_clips import PaddedClipPreprocessor

__all__ = ['PaddedClipPreprocessor']
