"""Which classes one model knows better than another."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .predictions import Predictions, PredictionsError


@dataclass(frozen=True)
class ClassDifference:
    """A class as two models see it.

    Attributes:
        label (int): The class.
        videos (int): How many there are of it, at least 1.
        first (float): Share of them that the first model gets right.
        second (float): The same for the second.
    """

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

    Attributes:
        classes (Tuple[ClassDifference, ...]): Every class that has videos,
            sorted from the largest gain of the first model to its largest
            loss; of equal ones that with more videos comes first.
        num_classes (int): With those that have no videos.
        videos (int): How many.
        first (float): Share that the first model gets right (top-1).
        second (float): The same for the second.
        only_first (int): Videos that only the first model gets right.
        only_second (int): Videos that only the second model gets right.
    """

    classes: tuple[ClassDifference, ...]
    num_classes: int
    videos: int
    first: float
    second: float
    only_first: int
    only_second: int

    def largest(self, count: int) -> tuple[list[ClassDifference], list[ClassDifference]]:
        """The classes with the largest gains and losses of the first model.

        Args:
            count (int): At most so many of each.

        Returns:
            Tuple[List[ClassDifference], List[ClassDifference]]: Gains, the
            largest first; losses, the largest last. Classes without a
            difference are in neither.
        """
        gains = [one for one in self.classes if one.difference > 0]
        losses = [one for one in self.classes if one.difference < 0]
        return gains[:count], losses[max(0, len(losses) - count) :]


def compare_predictions(first: Predictions, second: Predictions) -> Comparison:
    """Compare two models class by class.

    Args:
        first (Predictions): Of the model that gains or loses.
        second (Predictions): Of the one it is compared with, for the same
            videos in the same order.

    Returns:
        Comparison: What differs.

    Raises:
        PredictionsError: If the videos are not the same; says where.
    """
    _check_same_videos(first, second)
    count = first.num_classes
    videos = np.bincount(first.labels, minlength=count)
    right = [np.bincount(one.labels[one.correct], minlength=count) for one in (first, second)]
    classes = [
        ClassDifference(
            label=int(label),
            videos=int(videos[label]),
            first=right[0][label] / videos[label],
            second=right[1][label] / videos[label],
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
    for what, mine, other in (
        ('videos', len(first.labels), len(second.labels)),
        ('classes', first.num_classes, second.num_classes),
    ):
        if mine != other:
            raise PredictionsError(
                f'{first.source} has {mine} {what} and {second.source} has '
                f'{other}: test both models on the same list'
            )
    differ = np.flatnonzero(first.labels != second.labels)
    if len(differ):
        at = differ[0]
        raise PredictionsError(
            f'{len(differ)} of {len(first.labels)} labels differ between '
            f'{first.source} and {second.source}; the first is entry {at}: '
            f'{first.labels[at]} and {second.labels[at]}. Test both models '
            'on the same list, unshuffled'
        )
    for at, (name, another) in enumerate(zip(first.videos, second.videos)):
        if name != another:
            raise PredictionsError(
                f'entry {at} is video {name} in {first.source} and {another} '
                f'in {second.source}: test both models on the same list, '
                'unshuffled'
            )


def write_comparison(
    comparison: Comparison, names: Sequence[str], models: tuple[str, str], path: str | Path
) -> Path:
    """Write a CSV file: a line for each class, as they are sorted.

    Args:
        comparison (Comparison): What to write.
        names (Sequence[str]): Names of all classes, by label.
        models (Tuple[str, str]): Names of the models.
        path (str | Path): The file; its folder is made.

    Returns:
        Path: The file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open('w', newline='', encoding='utf-8') as file:
        writer = csv.writer(file)
        writer.writerow(
            [
                'class',
                'name',
                'videos',
                f'{models[0]}_percent',
                f'{models[1]}_percent',
                'difference_points',
            ]
        )
        for one in comparison.classes:
            writer.writerow(
                [
                    one.label,
                    names[one.label],
                    one.videos,
                    f'{100 * one.first:.2f}',
                    f'{100 * one.second:.2f}',
                    f'{100 * one.difference:+.2f}',
                ]
            )
    return path
