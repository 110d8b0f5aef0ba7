"""Asymmetric Masked Distillation for small vision transformers, on MMEngine.

Importing this package is light: models, datasets and the OpenMMLab codebases
they build on are imported by :mod:`amd_mm.registry` when a config names them.
"""

from .compat import apply_import_fixes
from .version import __version__

apply_import_fixes()

__all__ = ['__version__']
