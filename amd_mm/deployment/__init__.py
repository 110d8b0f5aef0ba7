"""Trained models as programs that run without this package."""

from .exporting import PROGRAM_FORMATS, Exported, check_request, export_program
from .model_folder import save_model_folder
from .portable import INPUTS, PortableModel, portable_classifier, portable_encoder

__all__ = [
    'INPUTS',
    'PROGRAM_FORMATS',
    'Exported',
    'PortableModel',
    'check_request',
    'export_program',
    'portable_classifier',
    'portable_encoder',
    'save_model_folder',
]
