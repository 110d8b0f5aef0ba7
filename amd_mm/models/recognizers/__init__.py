from .frozen_backbone import FrozenBackboneRecognizer

__all__ = ['FrozenBackboneRecognizer']
