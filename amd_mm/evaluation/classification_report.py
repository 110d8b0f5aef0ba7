"""How well each class is recognised, and what it is mistaken for."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from amd_mm.registry import METRICS
from mmaction.evaluation import ConfusionMatrix
from mmengine.logging import MMLogger

from .label_map import check_label_map, read_label_map


@METRICS.register_module()
class ClassificationReport(ConfusionMatrix):
    """Writes a table, a confusion matrix and pictures of both.

    To stand beside ``mmaction.AccMetric``, which computes the numbers that
    are logged: this one returns none. Written once, by the first process,
    from exactly the samples of the data set:

    - ``per_class.csv``: videos, top-1 and top-k accuracy, how often the class
      was predicted, with what precision, and what it is most often mistaken
      for;
    - ``confusion_matrix.csv``: counts, a row for each true class, a column
      for each predicted one;
    - ``per_class.png`` and ``confusion_matrix.png``.

    The mean class accuracy in the log is that of the classes that have
    videos. ``AccMetric`` also counts classes without videos, as 0, if they
    were ever predicted.

    Args:
        out_dir (str): Folder to write to; it is made.
        label_map (str, optional): File of class names, see
            :func:`~amd_mm.evaluation.label_map.read_label_map`. Without it the
            ``classes`` of the data set's metainfo are taken, if there, else
            numbers.
        top_k (int): The k of the second accuracy. Defaults to 5.
        collect_device (str): See ``mmengine.evaluator.BaseMetric``.

    Raises:
        LabelMapError: If ``label_map`` cannot be read or does not fit.
        ValueError: From the first batch on, if a sample has not one vector
            of scores and one label.
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
        # What can go wrong should do so before the test and not after it.
        self.out_dir.mkdir(parents=True, exist_ok=True)
        self.label_map = label_map
        self.names = None if label_map is None else read_label_map(label_map)
        self.top_k = top_k

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the predicted and the true class of every sample.

        Args:
            data_batch (Any): Not needed.
            data_samples (Sequence[dict]): With ``pred_score`` (C, ) and
                ``gt_label`` (1, ).
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
                f'ClassificationReport needs a pred_score of shape '
                f'(classes, ) for each video, got {found}; set '
                "model.cls_head.average_clips='prob'"
            )
        if label is None or label.numel() != 1:
            raise ValueError('ClassificationReport needs one label for each video')
        if not 0 <= int(label) < len(score):
            raise ValueError(
                f'a video has the label {int(label)}, which is none of the '
                f"model's {len(score)} classes (-1: the list has no labels); "
                'see test_dataloader.dataset.ann_file and '
                'model.cls_head.num_classes'
            )
        if self.names is not None and self.label_map is not None:
            check_label_map(self.names, len(score), self.label_map)

    def compute_metrics(self, results: list[dict]) -> dict:
        """Write the report.

        Args:
            results (List[dict]): Of all processes.

        Returns:
            dict: Empty.
        """
        # Here: drawing is nothing that a process has to import to test.
        from amd_mm.visualization import draw_class_accuracies, draw_confusion_matrix

        matrix = super().compute_metrics(results)['result'].numpy()
        in_top = np.zeros(len(matrix), dtype=np.int64)
        for result in results:
            in_top[int(result['gt_label'])] += bool(result['in_top'])
        names = self._class_names(len(matrix))
        shown = names or [str(label) for label in range(len(matrix))]
        write_class_table(matrix, in_top, shown, self.top_k, self.out_dir / 'per_class.csv')
        write_confusion_matrix(matrix, shown, self.out_dir / 'confusion_matrix.csv')
        draw_class_accuracies(matrix, names, self.out_dir / 'per_class.png')
        draw_confusion_matrix(matrix, names, self.out_dir / 'confusion_matrix.png')
        MMLogger.get_current_instance().info(
            'Report of each class in %s: mean accuracy %.2f %% of %d classes with %d videos',
            self.out_dir,
            100 * mean_class_accuracy(matrix),
            (matrix.sum(1) > 0).sum(),
            matrix.sum(),
        )
        return {}

    def _class_names(self, num_classes: int) -> list[str] | None:
        if self.names is not None:
            return self.names
        classes = (self.dataset_meta or {}).get('classes')
        # Of a list that is not about these classes: numbers say more.
        if classes is None or len(classes) != num_classes:
            return None
        return [str(name) for name in classes]


def mean_class_accuracy(matrix: np.ndarray) -> float:
    """The mean accuracy of the classes that have videos.

    Args:
        matrix (np.ndarray): (C, C), counts; rows are the true classes.

    Returns:
        float: Between 0 and 1.
    """
    videos = matrix.sum(1)
    there = videos > 0
    return float((np.diag(matrix)[there] / videos[there]).mean())


def write_class_table(
    matrix: np.ndarray, in_top: np.ndarray, names: Sequence[str], top_k: int, path: str | Path
) -> None:
    """Write a CSV file with a line for each class.

    A cell is empty where there is nothing to divide by.

    Args:
        matrix (np.ndarray): (C, C), counts; rows are the true classes.
        in_top (np.ndarray): (C, ), videos of each class whose class is among
            the ``top_k`` of highest score.
        names (Sequence[str]): C names.
        top_k (int): For the title of the column.
        path (str | Path): The file.
    """
    videos, predicted = matrix.sum(1), matrix.sum(0)
    mistakes = matrix - np.diag(np.diag(matrix))
    with Path(path).open('w', newline='', encoding='utf-8') as file:
        writer = csv.writer(file)
        writer.writerow(
            [
                'class',
                'name',
                'videos',
                'correct',
                'top1_percent',
                f'top{top_k}_percent',
                'predicted',
                'precision_percent',
                'mistaken_for',
                'mistaken_videos',
            ]
        )
        for label, name in enumerate(names):
            correct, other = matrix[label, label], mistakes[label].argmax()
            wrong = mistakes[label, other]
            writer.writerow(
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


def _percent(part: int, whole: int) -> str:
    return f'{100 * part / whole:.2f}' if whole else ''


def write_confusion_matrix(matrix: np.ndarray, names: Sequence[str], path: str | Path) -> None:
    """Write a CSV file: a row for each true class, with counts.

    Args:
        matrix (np.ndarray): (C, C), counts; rows are the true classes.
        names (Sequence[str]): C names, for rows and columns.
        path (str | Path): The file.
    """
    with Path(path).open('w', newline='', encoding='utf-8') as file:
        writer = csv.writer(file)
        writer.writerow(['true / predicted', *names])
        for name, row in zip(names, matrix):
            writer.writerow([name, *row])
