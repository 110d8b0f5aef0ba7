"""A class-balanced part of a labelled data set, for few labels.

Works on labels and names alone, so that it serves videos, frame folders and
pictures in the same way.
"""

import hashlib
import math
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

NO_LABEL = -1
"""The label of a sample whose list has none (as in MMAction2)."""


@dataclass(frozen=True)
class LabelBudget:
    """How many labelled samples of each class may be used.

    Which ones is decided by the names of the samples and the seed alone:
    every machine and every process takes the same, whatever the order of the
    list. Budgets of one seed are nested: what 1 % takes is part of what 10 %
    takes, and 4 a class are part of 16 a class.

    Args:
        fraction (float, optional): Share of each class, above 0 and up to 1,
            rounded to the nearest number of samples and at least one.
        per_class (int, optional): So many of each class, or all where there
            are fewer. One of the two has to be given.
        seed (int): Another seed takes other samples. Defaults to 0.

    Raises:
        ValueError: If neither or both are given, or one is out of range.
    """

    fraction: float | None = None
    per_class: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.fraction is None) == (self.per_class is None):
            raise ValueError(
                'a label budget is a fraction of each class or a number per '
                f'class, one of the two; got fraction={self.fraction} and '
                f'per_class={self.per_class}'
            )
        if self.fraction is not None and not 0 < self.fraction <= 1:
            raise ValueError(
                'the fraction of the labels has to be above 0 and at most 1 '
                f'(0.1 for 10 %), got {self.fraction}'
            )
        if self.per_class is not None and (
            self.per_class < 1 or int(self.per_class) != self.per_class
        ):
            raise ValueError(
                'the number of samples per class has to be a '
                f'whole number from 1, got {self.per_class}'
            )

    def size(self, available: int) -> int:
        """How many samples of a class that has ``available``."""
        if self.per_class is not None:
            return min(int(self.per_class), available)
        assert self.fraction is not None  # one of the two
        return max(1, math.floor(self.fraction * available + 0.5))

    def choose(self, labels: Sequence[int], names: Sequence[str]) -> list[int]:
        """Positions of the samples to use.

        Args:
            labels (Sequence[int]): Class of each sample.
            names (Sequence[str]): What tells samples apart, the same on every
                machine: paths as they stand in the list, not absolute ones.

        Returns:
            List[int]: Rising, at least one of each class.

        Raises:
            ValueError: If there are not as many names as labels, or a sample
                has no label.
        """
        if len(labels) != len(names):
            raise ValueError(
                f'{len(labels)} labels and {len(names)} names: there must be as many of both'
            )
        members: dict[int, list[int]] = {}
        for position, label in enumerate(labels):
            if label <= NO_LABEL:
                raise ValueError(
                    f'{names[position]} has no label: a part of each class '
                    'can only be taken from a list with a label in every line'
                )
            members.setdefault(label, []).append(position)
        chosen: list[int] = []
        for positions in members.values():
            ranked = sorted(positions, key=lambda one: _lot(self.seed, names[one]))
            chosen += ranked[: self.size(len(ranked))]
        return sorted(chosen)

    def report(self, labels: Sequence[int], chosen: Sequence[int]) -> str:
        """What was taken, class by class.

        Args:
            labels (Sequence[int]): As for :meth:`choose`.
            chosen (Sequence[int]): From :meth:`choose`.

        Returns:
            str: Some lines: the sum, the classes that have fewer than asked
            for, and "class: taken of available" for each.
        """
        available = Counter(labels)
        taken = Counter(labels[one] for one in chosen)
        asked = (
            f'{100 * self.fraction:g} % of each class'
            if self.fraction is not None
            else f'{self.per_class} per class'
        )
        lines = [
            f'label budget ({asked}, seed {self.seed}): {len(chosen)} of '
            f'{len(labels)} samples in {len(available)} classes'
        ]
        short = [
            label
            for label in sorted(available)
            if self.per_class is not None and taken[label] < self.per_class
        ]
        if short:
            lines.append(
                f'{len(short)} classes have fewer than {self.per_class}, of '
                f'which all are taken: {_few(short)}'
            )
        counts = ', '.join(
            f'{label}: {taken[label]} of {available[label]}' for label in sorted(available)
        )
        return '\n'.join(
            lines + textwrap.wrap(counts, 77, initial_indent='  ', subsequent_indent='  ')
        )


def _lot(seed: int, name: str) -> bytes:
    """A number drawn for a sample, the same everywhere; then its name."""
    text = name.encode('utf-8', 'surrogateescape')
    return hashlib.sha256(b'%d:' % seed + text).digest() + text


def _few(labels: Sequence[int], limit: int = 20) -> str:
    shown = ', '.join(map(str, labels[:limit]))
    more = len(labels) - limit
    return f'{shown} and {more} more' if more > 0 else shown
