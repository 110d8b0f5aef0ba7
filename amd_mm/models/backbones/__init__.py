from .image_vit import ImageVisionTransformer
from .vit import EncoderOutput, FeatureMapVisionTransformer, VideoVisionTransformer, check_layers

__all__ = [
    'EncoderOutput',
    'FeatureMapVisionTransformer',
    'ImageVisionTransformer',
    'VideoVisionTransformer',
    'check_layers',
]
