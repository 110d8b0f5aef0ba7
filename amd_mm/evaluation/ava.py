"""AVA's mean average precision, without the side effects."""

import os.path as osp
from collections.abc import Sequence
from tempfile import TemporaryDirectory

import numpy as np
from amd_mm.datasets.ava_files import (
    AVADataError,
    frame_key,
    read_exclusions,
    read_label_map,
    some_of,
)
from amd_mm.registry import METRICS
from mmaction.evaluation import results2csv
from mmaction.evaluation.functional.ava_evaluation import metrics
from mmaction.evaluation.functional.ava_utils import read_csv, tpfp_single
from mmaction.evaluation.metrics import AVAMetric
from mmengine.logging import MMLogger

# Kinds of actions, by their labels in AVA (ActivityNet's evaluation).
_KINDS = dict(
    person_movement=range(1, 15),
    object_manipulation=range(15, 64),
    person_interaction=range(64, 10**6),
)


@METRICS.register_module()
class PerClassAVAMetric(AVAMetric):
    """MMAction2's ``AVAMetric``, by itself and with the AP of each action.

    Frame-level mAP at an overlap of 0.5, computed by MMAction2's functions
    from scores of four decimals. What differs from its metric:

    - The csv between is in a folder of its own, not in the working directory
      under a name that two runs share if they end in the same second.
    - It runs in this process; MMAction2 starts 32.
    - ``exclude_file`` may be left out, and excluded frames do not count as
      missed either. An action of the annotations that was never detected has
      an AP of 0 (MMAction2 leaves it out of the mean). Both are as in
      ActivityNet's evaluation.
    - It works with numpy 2, which has no ``np.NAN``.
    - Files that do not meet are an error: labels at the start, frames at the
      first batch.

    Args:
        ann_file (str): Annotations, see :mod:`amd_mm.datasets.ava_files`.
        label_file (str): The label map; other labels do not count.
        exclude_file (str, optional): Excluded frames.
        classwise (bool): Return the AP of each action too, and log a table.
            Defaults to False.
        action_thr (float): Lower scores are no detection. Defaults to 0.002.
        num_classes (int): Classes of the model, with the background. Defaults
            to 81.
        custom_classes (List[int], optional): The labels that the model's
            classes stand for, as for the data set.
        collect_device (str): See MMEngine's ``BaseMetric``.
        prefix (str, optional): See MMEngine's ``BaseMetric``.

    Raises:
        AVADataError: If annotations and label map have no label in common.
    """

    def __init__(
        self,
        ann_file: str,
        label_file: str,
        exclude_file: str | None = None,
        classwise: bool = False,
        action_thr: float = 0.002,
        num_classes: int = 81,
        custom_classes: list[int] | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(
            ann_file,
            exclude_file,
            label_file,
            action_thr=action_thr,
            num_classes=num_classes,
            custom_classes=custom_classes,
            collect_device=collect_device,
            prefix=prefix,
        )
        self.classwise = classwise
        names = read_label_map(label_file)
        if custom_classes is not None:
            unknown = set(custom_classes) - set(names)
            if unknown:
                raise AVADataError(f'custom_classes {some_of(unknown)} are not in {label_file}')
            names = {label: names[label] for label in custom_classes}
        self.names = names
        self.excluded = read_exclusions(exclude_file)
        with open(ann_file, encoding='utf-8') as file:
            # The last column, the person, is read as a score. Not used.
            boxes, labels, _ = read_csv(file, set(names))
        if not boxes:
            raise AVADataError(
                f'no line of {ann_file} has a label of {label_file}: {some_of(names)}'
            )
        self.annotated = {
            key: (boxes[key], labels[key]) for key in boxes if key not in self.excluded
        }
        if not self.annotated:
            raise AVADataError(f'all frames of {ann_file} are excluded by {exclude_file}')
        self._known: set[str] | None = None

    def process(
        self, data_batch: Sequence[tuple[object, dict]], data_samples: Sequence[dict]
    ) -> None:
        """Keep the detections of a batch; see the parent.

        Raises:
            AVADataError: If a frame is not in the annotations.
        """
        super().process(data_batch, data_samples)
        for sample in data_samples:
            self._seen(frame_key(sample['video_id'], sample['timestamp']))

    def _seen(self, key: str) -> None:
        if self._known is None:
            # Frames whose labels are all unknown are no annotation here.
            with open(self.ann_file, encoding='utf-8') as file:
                self._known = {frame_key(*line.split(',', 2)[:2]) for line in file}
        if key not in self._known:
            raise AVADataError(
                f'the data set gives frame {key!r}, which is not in the '
                f"evaluator's {self.ann_file}: it has {some_of(self._known)}. "
                'Give both the same ann_file'
            )

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Mean average precision from the detections of all frames.

        Args:
            results (list): Of :meth:`process`.

        Returns:
            Dict[str, float]: ``overall``, the means of the kinds of actions
            that are annotated, and with ``classwise`` the AP of each action,
            as ``12_stand``.
        """
        with TemporaryDirectory(prefix='ava_metric_') as folder:
            path = osp.join(folder, 'detections.csv')
            results2csv(results, path, self.custom_classes)
            with open(path, encoding='utf-8') as file:
                detected = read_csv(file, set(self.names))
        scores, hits, counts = self._match(*detected)
        aps = {
            label: _average_precision(scores[label], hits[label], count)
            for label, count in sorted(counts.items())
        }
        found = dict(overall=_mean(list(aps.values())))
        for kind, labels in _KINDS.items():
            chosen = [ap for label, ap in aps.items() if label in labels]
            if chosen:
                found[kind] = _mean(chosen)
        if self.classwise:
            self._log_table(aps, counts)
            found.update({f'{label}_{self.names[label]}': ap for label, ap in aps.items()})
        return found

    def _match(self, boxes: dict, labels: dict, scores: dict) -> tuple:
        """Scores and hits of all detections, and annotated boxes, by label."""
        all_scores: dict[int, list] = {label: [] for label in self.names}
        all_hits: dict[int, list] = {label: [] for label in self.names}
        counts: dict[int, int] = {}
        for key, (true_boxes, true_labels) in self.annotated.items():
            for label in true_labels:
                counts[label] = counts.get(label, 0) + 1
            found = np.array(labels.get(key, []), dtype=int)
            # Only these can be hits, and there are few of them in a frame.
            chosen = np.isin(found, true_labels)
            tried = (
                [np.array(values[key])[chosen] for values in (boxes, labels, scores)]
                if len(found)
                else [np.zeros((0, 4)), [], []]
            )
            matched = tpfp_single((true_boxes, true_labels, *tried))
            for label in set(true_labels) & set(matched[0]):
                all_scores[label].append(matched[0][label])
                all_hits[label].append(matched[1][label])
            for label in set(found[~chosen]):
                wrong = np.array(scores[key], np.float32)[found == label]
                all_scores[label].append(wrong)
                all_hits[label].append(np.zeros(len(wrong), bool))
        return all_scores, all_hits, counts

    def _log_table(self, aps: dict[int, float], counts: dict[int, int]) -> None:
        width = max(len(self.names[label]) for label in aps)
        rows = [
            f'{label:>5}  {self.names[label]:<{width}}  {counts[label]:>7}  {ap:.4f}'
            for label, ap in aps.items()
        ]
        MMLogger.get_current_instance().info(
            '\n'.join(
                ['AP of each action', f'{"label":>5}  {"action":<{width}}  {"boxes":>7}  AP', *rows]
            )
        )


def _average_precision(scores: list[np.ndarray], hits: list[np.ndarray], count: int) -> float:
    if not scores:
        return 0.0
    precision, recall = metrics.compute_precision_recall(
        np.concatenate(scores), np.concatenate(hits), count
    )
    return float(metrics.compute_average_precision(precision, recall))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))
