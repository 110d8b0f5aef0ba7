from .encoder import EncoderOutput, check_taps
from .feature_map_vit import FeatureMapVisionTransformer
from .image_vit import ImageVisionTransformer
from .video_vit import VideoVisionTransformer

__all__ = [
    'EncoderOutput',
    'FeatureMapVisionTransformer',
    'ImageVisionTransformer',
    'VideoVisionTransformer',
    'check_taps',
]
