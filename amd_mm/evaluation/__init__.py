"""Reports for each class, features of many videos, probes and comparisons of predictions."""

from .ava import PerClassAVAMetric
from .classification_report import ClassificationReport
from .multi_label_report import MultiLabelReport

__all__ = ['ClassificationReport', 'MultiLabelReport', 'PerClassAVAMetric']
