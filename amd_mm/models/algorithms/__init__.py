from .aligned_moco import AlignedMoCoV3
from .amd import AMD
from .masked_autoencoder import MaskedAutoencoder, Reconstruction
from .tinymim import TinyMIM

__all__ = ['AMD', 'AlignedMoCoV3', 'MaskedAutoencoder', 'Reconstruction', 'TinyMIM']
