"""Reports for each class, features of many videos, probes and comparisons of predictions."""

from .ava import PerClassAVAMetric
from .classification_report import ClassificationReport

__all__ = ['ClassificationReport', 'PerClassAVAMetric']
