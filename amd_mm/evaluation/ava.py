"""AVA's mean average precision with the AP of each action."""

import os.path as osp
from collections import Counter, defaultdict
from collections.abc import Sequence
from tempfile import TemporaryDirectory

import numpy as np
from amd_mm.datasets.ava_files import (
    frame_key,
    plain_lines,
    read_exclusions,
    read_label_map,
    some_of,
)
from amd_mm.errors import VideoError
from amd_mm.registry import METRICS
from mmaction.evaluation import results2csv
from mmaction.evaluation.functional.ava_evaluation import metrics
from mmaction.evaluation.functional.ava_utils import read_csv, tpfp_single
from mmaction.evaluation.metrics import AVAMetric
from mmengine.logging import MMLogger

# Kinds of actions by their labels in AVA (ActivityNet's evaluation).
_KINDS = dict(
    person_movement=range(1, 15),
    object_manipulation=range(15, 64),
    person_interaction=range(64, 10**6),
)


@METRICS.register_module()
class PerClassAVAMetric(AVAMetric):
    """MMAction2's ``AVAMetric`` (frame-level mAP at an overlap of 0.5) with the AP of each action.

    It uses MMAction2's functions. Differences from its metric:

    - The csv in between is in a temporary folder, not in the working directory under a name that
      two runs share. It starts no processes (MMAction2 starts 32), and works with NumPy 2.
    - As in ActivityNet's evaluation, an annotated action that was never detected has an AP of 0
      (MMAction2 leaves it out of the mean), and excluded frames do not count as missed.
    - Files that do not match are an error: labels at the start, frames at the first batch.

    Args:
        ann_file: annotations, see :mod:`amd_mm.datasets.ava_files`.
        label_file: the label map; other labels do not count.
        classwise: also return the AP of each action, and log a table.
        action_thr: lower scores are not detections.
        num_classes: classes of the model, with the background.
        custom_classes: labels that the model's classes stand for, as for the dataset.

    Raises:
        VideoError: annotations and label map have no label in common.
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
        self.names = read_label_map(label_file, None if custom_classes else num_classes)
        if custom_classes is not None:
            unknown = set(custom_classes) - set(self.names)
            if unknown:
                raise VideoError(f'custom_classes {some_of(unknown)} are not in {label_file}')
            self.names = {label: self.names[label] for label in custom_classes}
        lines = list(plain_lines(ann_file))
        self._annotated_frames = {frame_key(*line.split(',', 2)[:2]) for line in lines}
        boxes, labels, _ = read_csv(lines, set(self.names))
        if not boxes:
            raise VideoError(
                f'no line of {ann_file} has a label of {label_file}: {some_of(self.names)}'
            )
        excluded = read_exclusions(exclude_file)
        self.annotated = {key: (boxes[key], labels[key]) for key in boxes if key not in excluded}
        if not self.annotated:
            raise VideoError(f'all frames of {ann_file} are excluded by {exclude_file}')

    def process(
        self, data_batch: Sequence[tuple[object, dict]], data_samples: Sequence[dict]
    ) -> None:
        """Keep the detections of a batch.

        Raises:
            VideoError: a frame is not in the annotations.
        """
        super().process(data_batch, data_samples)
        for sample in data_samples:
            key = frame_key(sample['video_id'], sample['timestamp'])
            if key not in self._annotated_frames:
                raise VideoError(
                    f"the dataset gives frame {key!r}, which is not in the evaluator's "
                    f'{self.ann_file}: it has {some_of(self._annotated_frames)}. Give both the '
                    'same ann_file'
                )

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Compute the mAP from the detections of all frames.

        Returns:
            ``overall``, the means of the kinds of actions that are annotated, and with
            ``classwise`` the AP of each action, as ``12_stand``.
        """
        with TemporaryDirectory(prefix='ava_metric_') as folder:
            path = osp.join(folder, 'detections.csv')
            results2csv(results, path, self.custom_classes)
            with open(path, encoding='utf-8') as file:
                detected = read_csv(file, set(self.names))
        counts = Counter(label for _, labels in self.annotated.values() for label in labels)
        aps = self._average_precisions(counts, *detected)
        found = dict(overall=float(np.mean(list(aps.values()))))
        for kind, labels in _KINDS.items():
            chosen = [ap for label, ap in aps.items() if label in labels]
            if chosen:
                found[kind] = float(np.mean(chosen))
        if self.classwise:
            self._log_table(aps, counts)
            found.update({f'{label}_{self.names[label]}': ap for label, ap in aps.items()})
        return found

    def _average_precisions(
        self, counts: Counter, boxes: dict, labels: dict, scores: dict
    ) -> dict[int, float]:
        """AP by label, from the detections by frame."""
        all_scores, all_hits = defaultdict(list), defaultdict(list)
        for key, (true_boxes, true_labels) in self.annotated.items():
            found = np.array(labels.get(key, []), dtype=int)
            if not len(found):
                continue
            frame_scores = np.array(scores[key], np.float32)
            # Only detections of an annotated label can be hits; they are few.
            candidates = np.isin(found, true_labels)
            matched_scores, matched_hits = tpfp_single(
                (
                    true_boxes,
                    true_labels,
                    *(np.array(v[key])[candidates] for v in (boxes, labels, scores)),
                )
            )
            for label in matched_scores:
                all_scores[label].append(matched_scores[label])
                all_hits[label].append(matched_hits[label])
            for label in set(found[~candidates]):
                wrong = frame_scores[found == label]
                all_scores[label].append(wrong)
                all_hits[label].append(np.zeros(len(wrong), bool))
        aps = dict.fromkeys(sorted(counts), 0.0)
        for label in aps:
            if all_scores[label]:
                precision, recall = metrics.compute_precision_recall(
                    np.concatenate(all_scores[label]),
                    np.concatenate(all_hits[label]),
                    counts[label],
                )
                aps[label] = float(metrics.compute_average_precision(precision, recall))
        return aps

    def _log_table(self, aps: dict[int, float], counts: Counter) -> None:
        width = max(len(self.names[label]) for label in aps)
        rows = [f'{"label":>5}  {"action":<{width}}  {"boxes":>7}  AP']
        rows += [
            f'{label:>5}  {self.names[label]:<{width}}  {counts[label]:>7}  {ap:.4f}'
            for label, ap in aps.items()
        ]
        MMLogger.get_current_instance().info('\n'.join(['AP of each action', *rows]))
