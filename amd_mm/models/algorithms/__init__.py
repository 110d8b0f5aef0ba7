from .amd import AMD
from .masked_autoencoder import MaskedAutoencoder, Reconstruction
from .tinymim import TinyMIM

__all__ = ['AMD', 'MaskedAutoencoder', 'Reconstruction', 'TinyMIM']
