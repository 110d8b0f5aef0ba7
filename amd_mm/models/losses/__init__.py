from .feature_alignment import FeatureAlignmentLoss
from .token_relations import TokenRelationLoss, token_relation

__all__ = ['FeatureAlignmentLoss', 'TokenRelationLoss', 'token_relation']
