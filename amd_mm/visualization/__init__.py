"""Plots, reconstructions, attention distances, similarity of features, annotated videos.

Drawn without a display. Import from ``plots`` (training curves, classes), ``reconstruction``,
``features``, ``video`` and
``video_summary``; the plots that need no model are here too.
"""

from .plots import (
    draw_class_accuracies,
    draw_class_differences,
    draw_confusion_matrix,
    draw_training_curves,
    read_series,
    save_figure,
    styled,
)

__all__ = [
    'draw_class_accuracies',
    'draw_class_differences',
    'draw_confusion_matrix',
    'draw_training_curves',
    'read_series',
    'save_figure',
    'styled',
]
