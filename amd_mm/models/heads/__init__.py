from .pixel_reconstruction import PixelReconstructionHead

__all__ = ['PixelReconstructionHead']
