from .encoder import EncoderOutput, check_layers
from .feature_map_vit import FeatureMapVisionTransformer
from .image_vit import ImageVisionTransformer
from .video_vit import VideoVisionTransformer

__all__ = [
    'EncoderOutput',
    'FeatureMapVisionTransformer',
    'ImageVisionTransformer',
    'VideoVisionTransformer',
    'check_layers',
]
