from .bf16 import supports_fast_bf16
from .blocks import FusedAttention, build_blocks
from .compiling import compile_blocks
from .position import POSITION_TABLES, position_table, resize_position_table
from .tokens import Grid, gather_tokens, patchify, token_mask, unpatchify

__all__ = [
    'POSITION_TABLES',
    'FusedAttention',
    'Grid',
    'build_blocks',
    'compile_blocks',
    'gather_tokens',
    'patchify',
    'position_table',
    'resize_position_table',
    'supports_fast_bf16',
    'token_mask',
    'unpatchify',
]
