from .bf16 import bf16_autocast, supports_fast_bf16
from .blocks import DEFAULT_NORM, FusedAttention, build_blocks, checkpoint_blocks, compile_blocks
from .position import POSITION_TABLES, position_table, resize_position_table, rotary_angles, rotate
from .tokens import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Grid,
    gather_tokens,
    patchify,
    token_mask,
    unpatchify,
)

__all__ = [
    'DEFAULT_NORM',
    'IMAGENET_MEAN',
    'IMAGENET_STD',
    'POSITION_TABLES',
    'FusedAttention',
    'Grid',
    'bf16_autocast',
    'build_blocks',
    'checkpoint_blocks',
    'compile_blocks',
    'gather_tokens',
    'patchify',
    'position_table',
    'resize_position_table',
    'rotary_angles',
    'rotate',
    'supports_fast_bf16',
    'token_mask',
    'unpatchify',
]
