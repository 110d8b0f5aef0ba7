"""Checkpoints: the public formats, and a loader that names every weight it leaves out."""

from amd_mm.errors import CheckpointError

from .convert import Converted, from_amd_mm, to_amd_mm
from .describe import collapse, describe_encoder, group_by_reason, infer_backbone
from .formats import FORMATS, Format, detect_format, get_format, known_formats, unwrap
from .io import (
    CODEBASES,
    Published,
    file_sha256,
    make_plain,
    publish_encoder,
    read_checkpoint,
    restore_log_history,
    save_weights,
    write_atomically,
)
from .load import CheckpointMismatchError, LoadReport, load_encoder, load_into

__all__ = [
    'CODEBASES',
    'FORMATS',
    'CheckpointError',
    'CheckpointMismatchError',
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
    'infer_backbone',
    'known_formats',
    'load_encoder',
    'load_into',
    'make_plain',
    'publish_encoder',
    'read_checkpoint',
    'restore_log_history',
    'save_weights',
    'to_amd_mm',
    'unwrap',
    'write_atomically',
]
