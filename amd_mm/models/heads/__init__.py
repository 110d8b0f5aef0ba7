from .distillation_targets import FeatureTargetHead, TokenRelationHead
from .pixel_reconstruction import PixelReconstructionHead

__all__ = ['FeatureTargetHead', 'PixelReconstructionHead', 'TokenRelationHead']
