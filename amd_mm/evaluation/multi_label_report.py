"""A table of all classes for models that give a video several labels."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from amd_mm.registry import METRICS
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from sklearn.metrics import average_precision_score

from .classification_report import write_csv
from .label_map import read_label_map


@METRICS.register_module()
class MultiLabelReport(BaseMetric):
    """Write the average precision of each class to ``per_class.csv``; return no metrics.

    ``mmaction.AccMetric`` with ``mean_average_precision`` logs the mean of the same numbers.

    Args:
        out_dir: the folder to write to; it is created.
        label_map: see :class:`~amd_mm.evaluation.ClassificationReport`.
        collect_device: see ``mmengine.evaluator.BaseMetric``.

    Raises:
        ConfigError: if ``label_map`` cannot be read or has another number of classes.
    """

    default_prefix = 'report'

    def __init__(
        self, out_dir: str, label_map: str | None = None, collect_device: str = 'cpu'
    ) -> None:
        super().__init__(collect_device=collect_device)
        self.out_dir = Path(out_dir)
        self.label_map = label_map

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the scores and the labels of every sample, each a vector (classes,)."""
        for sample in data_samples:
            self.results.append(
                (sample['gt_label'].cpu().numpy(), sample['pred_score'].cpu().numpy())
            )

    def compute_metrics(self, results: list[tuple]) -> dict:
        """Write the table of the samples of all processes."""
        labels, scores = map(np.stack, zip(*results))  # (N, C)
        classes = labels.shape[1]
        names = (self.dataset_meta or {}).get('classes') or range(classes)
        if self.label_map is not None:
            names = read_label_map(self.label_map, classes)
        videos = labels.sum(0).astype(int)
        table: list[list] = [['class', 'name', 'videos', 'average_precision_percent']]
        precisions = []
        for label, name in enumerate(names):
            shown = ''
            if videos[label]:
                precisions.append(average_precision_score(labels[:, label], scores[:, label]))
                shown = f'{100 * precisions[-1]:.2f}'
            table.append([label, name, videos[label], shown])
        self.out_dir.mkdir(parents=True, exist_ok=True)
        write_csv(self.out_dir / 'per_class.csv', table)
        MMLogger.get_current_instance().info(
            'Report of each class in %s: mean average precision %.2f %% of %d classes',
            self.out_dir,
            100 * np.mean(precisions),
            len(precisions),
        )
        return {}
