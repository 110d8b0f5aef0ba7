from .distillation_targets import FeatureTargetHead, TokenRelationHead
from .linear_probe_head import LinearProbeHead
from .pixel_reconstruction import PixelReconstructionHead

__all__ = ['FeatureTargetHead', 'LinearProbeHead', 'PixelReconstructionHead', 'TokenRelationHead']
