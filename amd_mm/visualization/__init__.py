"""Pictures: loss curves, masks and reconstructions.

Drawn without a display; nothing here touches matplotlib's global state.
"""
from .loss_curves import draw_loss_curves, read_scalars
from .reconstructions import draw_reconstruction, show_tokens

__all__ = [
    'draw_loss_curves', 'draw_reconstruction', 'read_scalars', 'show_tokens'
]
