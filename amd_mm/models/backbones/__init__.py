from .image_vit import ImageVisionTransformer
from .video_vit import FeatureMapVisionTransformer, VideoVisionTransformer
from .vit import EncoderOutput, check_layers

__all__ = [
    'EncoderOutput',
    'FeatureMapVisionTransformer',
    'ImageVisionTransformer',
    'VideoVisionTransformer',
    'check_layers',
]
