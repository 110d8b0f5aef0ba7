"""Class-balanced subsets, to train with few labels."""

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
    """Choose the same share or number of samples in each class.

    The choice depends only on the names of the samples and the seed: every machine and process
    chooses the same samples, in any order of the list. Subsets with the same seed are nested:
    1 % is part of 10 %, and 4 per class are part of 16 per class.

    Args:
        labels: class of each sample.
        names: a unique name of each sample. Use paths relative to the data folder, which are the
            same on every machine.
        label_fraction: share of each class, above 0 and at most 1, rounded to the nearest number
            of samples but at least one.
        samples_per_class: maximum samples of each class. Give either this or ``label_fraction``.
        seed: another seed chooses other samples.

    Returns:
        Ascending positions in ``labels``, at least one of each class.

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
            raise ValueError(f'{names[position]} has no label, which a class-balanced subset needs')
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
    """Count the chosen samples, and list the classes with fewer than ``samples_per_class``."""
    available, taken = Counter(labels), Counter(labels[one] for one in chosen)
    text = f'{len(chosen)} of {len(labels)} samples in {len(available)} classes'
    small = [str(label) for label in sorted(taken) if taken[label] < (samples_per_class or 0)]
    if small:
        text += (
            f'; all samples are used of {len(small)} classes with fewer than {samples_per_class}: '
            + ', '.join(small[:20])
            + ('' if len(small) <= 20 else f' and {len(small) - 20} more')
        )
    return text
