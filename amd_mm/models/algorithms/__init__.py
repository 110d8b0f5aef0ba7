from .amd import AMD
from .masked_autoencoder import MaskedAutoencoder, Reconstruction

__all__ = ['AMD', 'MaskedAutoencoder', 'Reconstruction']
