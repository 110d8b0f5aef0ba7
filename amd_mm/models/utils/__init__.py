from amd_mm.utils.position import POSITION_TABLES, position_table, resize_position_table
from amd_mm.utils.tokens import Grid, gather_tokens, patchify, token_mask, unpatchify

from .blocks import FusedAttention, build_blocks
from .compiling import compile_blocks

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
    'token_mask',
    'unpatchify',
]
