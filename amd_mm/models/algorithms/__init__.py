from .amd import AMD
from .baselines import AlignedClassifier, AlignedMoCoV3, LogitDistilledClassifier
from .masked_autoencoder import MaskedAutoencoder, Reconstruction
from .tinymim import TinyMIM

__all__ = [
    'AMD',
    'AlignedClassifier',
    'AlignedMoCoV3',
    'LogitDistilledClassifier',
    'MaskedAutoencoder',
    'Reconstruction',
    'TinyMIM',
]
