"""Pictures: loss curves, masks, reconstructions and classes.

Drawn without a display; nothing here touches matplotlib's global state.
"""

from .classes import (
    draw_class_accuracies,
    draw_class_differences,
    draw_confusion_matrix,
)
from .loss_curves import draw_loss_curves, read_scalars
from .reconstructions import draw_reconstruction, show_tokens

__all__ = [
    'draw_class_accuracies',
    'draw_class_differences',
    'draw_confusion_matrix',
    'draw_loss_curves',
    'draw_reconstruction',
    'read_scalars',
    'show_tokens',
]
