"""Trained models as programs that run without this package."""

from .errors import ExportError
from .exporting import Exported, check_request, export_program
from .portable import INPUTS, PortableModel, build_classifier, build_encoder
from .program_formats import PROGRAM_FORMATS

__all__ = [
    'INPUTS',
    'PROGRAM_FORMATS',
    'ExportError',
    'Exported',
    'PortableModel',
    'build_classifier',
    'build_encoder',
    'check_request',
    'export_program',
]
