"""Checkpoints: the public formats, and the loader that leaves nothing out."""

from .errors import (
    CheckpointError,
    CheckpointFormatError,
    CheckpointMismatchError,
    CheckpointReadError,
)
from .formats import (
    FORMATS,
    Converted,
    Format,
    detect_format,
    from_amd_mm,
    get_format,
    is_fixed_table,
    known_formats,
    to_amd_mm,
    unwrap,
)
from .loading import LoadReport, describe_encoder, load_encoder, load_into
from .names import collapse, group_by_reason
from .reading import read_checkpoint
from .writing import save_weights

__all__ = [
    'FORMATS',
    'CheckpointError',
    'CheckpointFormatError',
    'CheckpointMismatchError',
    'CheckpointReadError',
    'Converted',
    'Format',
    'LoadReport',
    'collapse',
    'describe_encoder',
    'detect_format',
    'from_amd_mm',
    'get_format',
    'group_by_reason',
    'is_fixed_table',
    'known_formats',
    'load_encoder',
    'load_into',
    'read_checkpoint',
    'save_weights',
    'to_amd_mm',
    'unwrap',
]
