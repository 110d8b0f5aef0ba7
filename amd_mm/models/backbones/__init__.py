from .video_vit import EncoderOutput, VideoVisionTransformer

__all__ = ['EncoderOutput', 'VideoVisionTransformer']
