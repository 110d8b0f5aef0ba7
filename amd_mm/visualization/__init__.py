"""Pictures: training curves, classes, reconstructions, attention, similarity, annotated videos.

Drawn without a display. Here are the figures that need no model; import the others from
``reconstruction``, ``attention``, ``similarity`` and ``video``.
"""

from .classes import draw_class_accuracies, draw_class_differences, draw_confusion_matrix
from .curves import draw_training_curves, read_series
from .style import save_figure, styled

__all__ = [
    'draw_class_accuracies',
    'draw_class_differences',
    'draw_confusion_matrix',
    'draw_training_curves',
    'read_series',
    'save_figure',
    'styled',
]
