"""A class-balanced part of a labelled dataset: few labels."""

import hashlib
import math
from collections import Counter
from collections.abc import Sequence


def class_balanced_subset(
    labels: Sequence[int],
    names: Sequence[str],
    label_fraction: float | None = None,
    samples_per_class: int | None = None,
    seed: int = 0,
) -> list[int]:
    """Choose the same part of each class, by the samples' names and the seed alone.

    Every machine and process chooses the same samples, whatever the order of the list. Subsets of
    one seed are nested: 1 % is part of 10 %, and 4 per class are part of 16 per class.

    Args:
        labels: class of each sample.
        names: tell samples apart, e.g. paths as the list file has them, not absolute ones.
        label_fraction: share of each class, above 0 and at most 1, rounded to the nearest number
            of samples and at least one.
        samples_per_class: maximum samples of each class. Give one of the two.
        seed: another seed chooses other samples.

    Returns:
        Ascending positions, at least one of each class.

    Raises:
        ValueError: an option is out of range, neither or both are given, or a sample has no label.
    """
    if (label_fraction is None) == (samples_per_class is None):
        raise ValueError(
            'give either label_fraction or samples_per_class, not both; '
            f'got label_fraction={label_fraction}, samples_per_class={samples_per_class}'
        )
    if label_fraction is not None and not 0 < label_fraction <= 1:
        raise ValueError(
            f'label_fraction must be above 0 and at most 1 (0.1 for 10 %), got {label_fraction}'
        )
    if samples_per_class is not None and not (
        isinstance(samples_per_class, int) and samples_per_class >= 1
    ):
        raise ValueError(
            f'samples_per_class must be a whole number from 1, got {samples_per_class}'
        )
    positions: dict[int, list[int]] = {}
    for position, label in enumerate(labels):
        if label < 0:
            raise ValueError(f'{names[position]} has no label; label_fraction needs labels')
        positions.setdefault(label, []).append(position)
    chosen: list[int] = []
    for members in positions.values():
        if label_fraction is None:
            count = samples_per_class
        else:
            count = max(1, math.floor(label_fraction * len(members) + 0.5))
        chosen += sorted(members, key=lambda one: _hash(seed, names[one]))[:count]
    return sorted(chosen)


def _hash(seed: int, name: str) -> bytes:
    text = name.encode('utf-8', 'surrogateescape')
    return hashlib.sha256(b'%d:' % seed + text).digest() + text


def describe_subset(
    labels: Sequence[int], chosen: Sequence[int], samples_per_class: int | None = None
) -> str:
    """Count the chosen samples, and name classes that have fewer than asked for."""
    available, taken = Counter(labels), Counter(labels[one] for one in chosen)
    text = f'{len(chosen)} of {len(labels)} samples in {len(available)} classes'
    small = [str(label) for label in sorted(taken) if taken[label] < (samples_per_class or 0)]
    if small:
        text += (
            f'; {len(small)} classes have fewer than {samples_per_class}, all of which are taken: '
            + ', '.join(small[:20])
            + ('' if len(small) <= 20 else f' and {len(small) - 20} more')
        )
    return text
