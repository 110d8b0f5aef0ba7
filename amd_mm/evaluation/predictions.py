"""Predictions that ``tools/test.py --dump`` wrote: reading and comparing them."""

import csv
import io
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from amd_mm.datasets.pickles import NumbersUnpickler
from amd_mm.errors import CheckpointError

_BUILD_TENSORS = {
    ('torch', 'Size'),
    ('torch._utils', '_rebuild_tensor_v2'),
    ('collections', 'OrderedDict'),
}


@dataclass(frozen=True)
class Predictions:
    """Predictions for labelled videos, in the order of the dataset.

    Args:
        source: the file.
        labels: (N,), the true classes.
        predicted: (N,), the classes of highest score.
        num_classes: scores of each video.
        videos: N file names without folder and ending; empty if the file does not have them
            (stock datasets do not record them).
    """

    source: str
    labels: np.ndarray
    predicted: np.ndarray
    num_classes: int
    videos: tuple[str, ...] = ()

    @property
    def correct(self) -> np.ndarray:
        """(N,), bool."""
        return self.labels == self.predicted


def read_predictions(path: str | Path) -> Predictions:
    """Read the predictions that ``--dump`` wrote for recognition.

    The file is a pickle; only tensors, arrays and plain containers are read from it.

    Raises:
        CheckpointError: if it is not such a file, or a video in it lacks one label.
    """
    samples = _read(Path(path))
    if not isinstance(samples, list) or not samples:
        raise CheckpointError(
            f'{path} does not hold a list of predictions: give a file that '
            '`tools/test.py --dump` wrote'
        )
    scores = [_scores(sample, f'{path}: entry {at}') for at, sample in enumerate(samples)]
    counts = sorted({len(one) for one in scores})
    if len(counts) > 1:
        raise CheckpointError(f'{path}: some videos have {counts[0]} scores, others {counts[-1]}')
    labels = [_label(sample, counts[0], f'{path}: entry {at}') for at, sample in enumerate(samples)]
    names = [str(sample.get('filename') or sample.get('frame_dir') or '') for sample in samples]
    return Predictions(
        source=str(path),
        labels=np.array(labels, dtype=np.int64),
        predicted=np.array([int(one.argmax()) for one in scores], np.int64),
        num_classes=counts[0],
        videos=tuple(Path(name).stem for name in names) if all(names) else (),
    )


def _scores(sample: Any, entry: str) -> torch.Tensor:
    if not isinstance(sample, dict) or 'pred_score' not in sample:
        raise CheckpointError(f'{entry} has no pred_score: only recognition can be compared')
    scores = torch.as_tensor(sample['pred_score'])
    if scores.ndim != 1:
        raise CheckpointError(
            f'the pred_score of {entry} has shape {tuple(scores.shape)} instead of (classes,): '
            "test with model.cls_head.average_clips='prob'"
        )
    return scores


def _label(sample: dict, num_classes: int, entry: str) -> int:
    label = torch.as_tensor(sample.get('gt_label', []))
    if label.numel() != 1:
        raise CheckpointError(f'{entry} has {label.numel()} labels; each video needs one')
    if not 0 <= label.item() < num_classes:
        raise CheckpointError(
            f'{entry} has the label {label.item()}, but there are {num_classes} classes'
            f'{" (-1: the list has no labels)" if label.item() < 0 else ""}'
        )
    return int(label)


def _read(path: Path) -> Any:
    try:
        with path.open('rb') as file:
            return _TensorUnpickler(file).load()
    except OSError as error:
        raise CheckpointError(f'{path} cannot be read: {error}') from error
    except Exception as error:  # a damaged pickle can raise anything
        raise CheckpointError(
            f'{path} is not a file of predictions, or is damaged: {type(error).__name__}: {error}'
        ) from error


class _TensorUnpickler(NumbersUnpickler):
    """Reads tensors too."""

    def find_class(self, module: str, name: str) -> Any:
        """Find one of the functions that build tensors and arrays."""
        if (module, name) == ('torch.storage', '_load_from_bytes'):
            # torch's own function would run a pickle
            return lambda content: torch.load(
                io.BytesIO(content), map_location='cpu', weights_only=True
            )
        if (module, name) in _BUILD_TENSORS:
            return pickle.Unpickler.find_class(self, module, name)
        return super().find_class(module, name)


class ClassDifference(NamedTuple):
    """A class as two models see it: its videos, and the share that each model gets right."""

    label: int
    videos: int
    first: float
    second: float

    @property
    def difference(self) -> float:
        """Positive where the first model is better."""
        return self.first - self.second


@dataclass(frozen=True)
class Comparison:
    """Two models on the same videos.

    Args:
        classes: every class that has videos, from the largest gain of the first model to its
            largest loss; of equal ones that with more videos comes first.
        num_classes: including classes without videos.
        videos: how many.
        first: top-1 accuracy of the first model, from 0 to 1.
        second: the same of the second.
        only_first: videos that only the first model gets right.
        only_second: videos that only the second model gets right.
    """

    classes: tuple[ClassDifference, ...]
    num_classes: int
    videos: int
    first: float
    second: float
    only_first: int
    only_second: int

    def largest(self, count: int) -> tuple[list[ClassDifference], list[ClassDifference]]:
        """At most ``count`` gains, the largest first, and as many losses, the largest last."""
        gains = [one for one in self.classes if one.difference > 0]
        losses = [one for one in self.classes if one.difference < 0]
        return gains[:count], losses[max(0, len(losses) - count) :]


def compare_predictions(first: Predictions, second: Predictions) -> Comparison:
    """Compare two models class by class.

    Raises:
        CheckpointError: if they are not of the same videos in the same order; says where.
    """
    _check_same_videos(first, second)
    count = first.num_classes
    videos = np.bincount(first.labels, minlength=count)
    right = [np.bincount(one.labels[one.correct], minlength=count) for one in (first, second)]
    classes = [
        ClassDifference(
            int(label), int(videos[label]), *(one[label] / videos[label] for one in right)
        )
        for label in np.flatnonzero(videos)
    ]
    classes.sort(key=lambda one: (-one.difference, -one.videos, one.label))
    return Comparison(
        classes=tuple(classes),
        num_classes=count,
        videos=len(first.labels),
        first=float(first.correct.mean()),
        second=float(second.correct.mean()),
        only_first=int((first.correct & ~second.correct).sum()),
        only_second=int((second.correct & ~first.correct).sum()),
    )


def _check_same_videos(first: Predictions, second: Predictions) -> None:
    remedy = 'test both models on the same list, unshuffled'
    for kind, mine, other in (
        ('videos', len(first.labels), len(second.labels)),
        ('classes', first.num_classes, second.num_classes),
    ):
        if mine != other:
            raise CheckpointError(
                f'{first.source} has {mine} {kind} and {second.source} has {other}: {remedy}'
            )
    differ = np.flatnonzero(first.labels != second.labels)
    if len(differ):
        at = differ[0]
        raise CheckpointError(
            f'{len(differ)} of {len(first.labels)} labels differ between {first.source} and '
            f'{second.source}, first at entry {at}: {first.labels[at]} and {second.labels[at]}; '
            + remedy
        )
    for at, (name, another) in enumerate(zip(first.videos, second.videos)):
        if name != another:
            raise CheckpointError(
                f'entry {at} is video {name} in {first.source} and {another} in '
                f'{second.source}: {remedy}'
            )


def write_comparison(
    comparison: Comparison, names: Sequence[str], models: tuple[str, str], path: Path
) -> None:
    """Write a CSV file with a line for each class, in the order of the comparison."""
    path.parent.mkdir(parents=True, exist_ok=True)
    head = ['class', 'name', 'videos', *(f'{one}_percent' for one in models), 'difference_points']
    with path.open('w', newline='', encoding='utf-8') as file:
        writer = csv.writer(file)
        writer.writerow(head)
        for one in comparison.classes:
            shares = f'{100 * one.first:.2f}', f'{100 * one.second:.2f}'
            gain = f'{100 * one.difference:+.2f}'
            writer.writerow([one.label, names[one.label], one.videos, *shares, gain])
