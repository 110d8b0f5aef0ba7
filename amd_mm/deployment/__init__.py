"""Trained models as programs that run without this package."""

from .exporting import PROGRAM_FORMATS, Exported, check_request, export_program
from .portable import INPUTS, PortableModel, build_classifier, build_encoder

__all__ = [
    'INPUTS',
    'PROGRAM_FORMATS',
    'Exported',
    'PortableModel',
    'build_classifier',
    'build_encoder',
    'check_request',
    'export_program',
]
