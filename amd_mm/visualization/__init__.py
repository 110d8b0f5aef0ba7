"""Pictures: curves, masks, reconstructions, attention, likeness, classes.

Drawn without a display; nothing here touches matplotlib's global state. What
needs the models, which take seconds to import, is imported when it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .classes import draw_class_accuracies, draw_class_differences, draw_confusion_matrix
from .errors import VisualizationError
from .loss_curves import draw_loss_curves
from .training_curves import draw_training_curves
from .training_logs import read_scalars, read_series

if TYPE_CHECKING:
    from .attention import attention_distances
    from .attention_pictures import draw_attention_distances
    from .reconstructions import draw_reconstruction, show_tokens
    from .similarity import draw_similarity, linear_cka

_WITH_MODELS = dict(
    attention_distances='attention',
    draw_attention_distances='attention_pictures',
    draw_reconstruction='reconstructions',
    draw_similarity='similarity',
    linear_cka='similarity',
    show_tokens='reconstructions',
)

__all__ = [
    'VisualizationError',
    'attention_distances',
    'draw_attention_distances',
    'draw_class_accuracies',
    'draw_class_differences',
    'draw_confusion_matrix',
    'draw_loss_curves',
    'draw_reconstruction',
    'draw_similarity',
    'draw_training_curves',
    'linear_cka',
    'read_scalars',
    'read_series',
    'show_tokens',
]


def __getattr__(name: str) -> Any:
    """Import what needs the models (PEP 562)."""
    if name in _WITH_MODELS:
        return getattr(import_module(f'.{_WITH_MODELS[name]}', __name__), name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
