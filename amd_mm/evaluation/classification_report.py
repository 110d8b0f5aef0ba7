"""A table and a confusion matrix of all classes, written after a test."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from amd_mm.registry import METRICS
from mmaction.evaluation import ConfusionMatrix
from mmengine.logging import MMLogger

from .label_map import read_label_map


@METRICS.register_module()
class ClassificationReport(ConfusionMatrix):
    """Write accuracies and confusions of each class, as tables and pictures.

    Use it beside ``mmaction.AccMetric``, which computes the logged metrics; this one returns
    none. The first process writes:

    - ``per_class.csv``: videos, top-1 and top-k accuracy, how often the class was predicted and
      with what precision, and the class it is most often confused with;
    - ``confusion_matrix.csv``: counts, with a row for each true class;
    - ``per_class.png`` and ``confusion_matrix.png``.

    The logged mean accuracy is over the classes that have videos. ``AccMetric`` counts classes
    without videos as 0 if they were ever predicted.

    Args:
        out_dir: the folder to write to; it is created.
        label_map: file of class names, see :func:`~amd_mm.evaluation.label_map.read_label_map`.
            By default the ``classes`` of the dataset's metainfo, else numbers.
        top_k: the k of the second accuracy.
        collect_device: see ``mmengine.evaluator.BaseMetric``.

    Raises:
        ConfigError: if ``label_map`` cannot be read or has another number of classes.
        ValueError: from the first batch on, if a sample lacks one vector of scores or one label.
    """

    default_prefix = 'report'

    def __init__(
        self,
        out_dir: str,
        label_map: str | None = None,
        top_k: int = 5,
        collect_device: str = 'cpu',
    ) -> None:
        super().__init__(collect_device=collect_device)
        if top_k < 1:
            raise ValueError(f'top_k must be at least 1, got {top_k}')
        self.out_dir = Path(out_dir)
        self.out_dir.mkdir(parents=True, exist_ok=True)
        self.label_map = label_map
        self.names = None if label_map is None else read_label_map(label_map)
        self.top_k = top_k

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the predicted and the true class of every sample.

        Args:
            data_batch: not used.
            data_samples: with ``pred_score`` (C,) and ``gt_label`` (1,).
        """
        for sample in data_samples:
            self._check(sample)
        start = len(self.results)
        super().process(data_batch, data_samples)
        for result, sample in zip(self.results[start:], data_samples):
            best = sample['pred_score'].topk(min(self.top_k, self.num_classes))
            result['in_top'] = (best.indices == sample['gt_label']).any()

    def _check(self, sample: dict) -> None:
        score, label = sample.get('pred_score'), sample.get('gt_label')
        if score is None or score.ndim != 1:
            found = 'none' if score is None else f'shape {tuple(score.shape)}'
            raise ValueError(
                f'ClassificationReport needs a pred_score of shape (classes,) for each video, '
                f"got {found}; set model.cls_head.average_clips='prob'"
            )
        if label is None or label.numel() != 1:
            raise ValueError('ClassificationReport needs one label for each video')
        if not 0 <= int(label) < len(score):
            raise ValueError(
                f'a video has the label {int(label)}, but the model has {len(score)} classes '
                '(-1: the list has no labels); see test_dataloader.dataset.ann_file and '
                'model.cls_head.num_classes'
            )
        if self.label_map is not None and len(self.names or ()) != len(score):
            read_label_map(self.label_map, len(score))  # raises

    def compute_metrics(self, results: list[dict]) -> dict:
        """Write the report of the samples of all processes; return no metrics."""
        from amd_mm.visualization import draw_class_accuracies, draw_confusion_matrix

        matrix = super().compute_metrics(results)['result'].numpy()
        in_top = np.zeros(len(matrix), dtype=np.int64)
        for result in results:
            in_top[int(result['gt_label'])] += bool(result['in_top'])
        names = self._class_names(len(matrix))
        shown = names or [str(label) for label in range(len(matrix))]
        write_csv(self.out_dir / 'per_class.csv', self._class_table(matrix, in_top, shown))
        rows = [[name, *row] for name, row in zip(shown, matrix)]
        write_csv(self.out_dir / 'confusion_matrix.csv', [['true / predicted', *shown], *rows])
        draw_class_accuracies(matrix, names, self.out_dir / 'per_class.png')
        draw_confusion_matrix(matrix, names, self.out_dir / 'confusion_matrix.png')
        videos = matrix.sum(1)
        accuracies = np.diag(matrix)[videos > 0] / videos[videos > 0]
        MMLogger.get_current_instance().info(
            'Report of each class in %s: mean accuracy %.2f %% of %d classes with %d videos',
            self.out_dir,
            100 * accuracies.mean(),
            len(accuracies),
            videos.sum(),
        )
        return {}

    def _class_names(self, num_classes: int) -> list[str] | None:
        if self.names is not None:
            return self.names
        classes = (self.dataset_meta or {}).get('classes')
        # a dataset's names may be of other classes: numbers are better then
        if classes is None or len(classes) != num_classes:
            return None
        return [str(name) for name in classes]

    def _class_table(
        self, matrix: np.ndarray, in_top: np.ndarray, names: Sequence[str]
    ) -> list[list]:
        """Rows of ``per_class.csv``; a cell is empty where there is nothing to divide by."""
        table: list[list] = [
            ['class', 'name', 'videos', 'correct', 'top1_percent', f'top{self.top_k}_percent']
            + ['predicted', 'precision_percent', 'mistaken_for', 'mistaken_videos']
        ]
        videos, predicted = matrix.sum(1), matrix.sum(0)
        mistakes = matrix - np.diag(np.diag(matrix))
        for label, name in enumerate(names):
            correct, other = matrix[label, label], mistakes[label].argmax()
            wrong = mistakes[label, other]
            table.append(
                [
                    label,
                    name,
                    videos[label],
                    correct,
                    _percent(correct, videos[label]),
                    _percent(in_top[label], videos[label]),
                    predicted[label],
                    _percent(correct, predicted[label]),
                    names[other] if wrong else '',
                    wrong or '',
                ]
            )
        return table


def _percent(part: int, whole: int) -> str:
    return f'{100 * part / whole:.2f}' if whole else ''


def write_csv(path: Path, rows: Sequence[Sequence]) -> None:
    """Write rows as UTF-8."""
    with path.open('w', newline='', encoding='utf-8') as file:
        csv.writer(file).writerows(rows)
