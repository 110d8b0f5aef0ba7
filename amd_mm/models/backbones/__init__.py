from .encoder import EncoderOutput, check_taps
from .image_vit import ImageVisionTransformer
from .video_vit import VideoVisionTransformer

__all__ = [
    'EncoderOutput', 'ImageVisionTransformer', 'VideoVisionTransformer',
    'check_taps'
]
