"""Checkpoints: the public formats, and the loader that leaves nothing out."""

from .converting import Converted, from_amd_mm, to_amd_mm
from .describing import describe_encoder
from .errors import (
    CheckpointError,
    CheckpointFormatError,
    CheckpointMismatchError,
    CheckpointReadError,
)
from .formats import FORMATS, Format, detect_format, get_format, known_formats
from .loading import LoadReport, load_encoder, load_into
from .names import collapse, group_by_reason
from .publishing import CODEBASES, Published, publish_encoder
from .reading import read_checkpoint
from .tables import is_fixed_table
from .unwrapping import unwrap
from .writing import file_sha256, save_weights

__all__ = [
    'CODEBASES',
    'FORMATS',
    'CheckpointError',
    'CheckpointFormatError',
    'CheckpointMismatchError',
    'CheckpointReadError',
    'Converted',
    'Format',
    'LoadReport',
    'Published',
    'collapse',
    'describe_encoder',
    'detect_format',
    'file_sha256',
    'from_amd_mm',
    'get_format',
    'group_by_reason',
    'is_fixed_table',
    'known_formats',
    'load_encoder',
    'load_into',
    'publish_encoder',
    'read_checkpoint',
    'save_weights',
    'to_amd_mm',
    'unwrap',
]
