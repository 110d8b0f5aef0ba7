from .distilled import AlignedClassifier, LogitDistilledClassifier

__all__ = ['AlignedClassifier', 'LogitDistilledClassifier']
