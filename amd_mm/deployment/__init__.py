"""Trained models as programs that run without this package."""

from .exporting import PROGRAM_FORMATS, Exported, check_request, export_program
from .model_folder import save_model_folder
from .portable import INPUTS, PortableModel, portable_classifier, portable_encoder
from .smaller import PRECISIONS, agreement_table, measure_agreement, write_smaller

__all__ = [
    'INPUTS',
    'PRECISIONS',
    'PROGRAM_FORMATS',
    'Exported',
    'PortableModel',
    'agreement_table',
    'check_request',
    'export_program',
    'measure_agreement',
    'portable_classifier',
    'portable_encoder',
    'save_model_folder',
    'write_smaller',
]
