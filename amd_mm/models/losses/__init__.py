from .feature_alignment import FeatureAlignmentLoss

__all__ = ['FeatureAlignmentLoss']
