"""What is not in MMAction2: reports of classes, probes of features."""

from .ava import PerClassAVAMetric
from .classification_report import ClassificationReport

__all__ = ['ClassificationReport', 'PerClassAVAMetric']
