"""Classifiers of frozen features: logistic regression and nearest neighbours."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from amd_mm.errors import VideoError
from numpy.typing import ArrayLike
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

PENALTIES = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3)
"""Weights of the squared coefficients, relative to the mean loss of a sample."""

Labelled = tuple[ArrayLike, ArrayLike]
"""Features (N, C) and their labels (N,), from 0; arrays or tensors on the CPU."""


Arrays = tuple[np.ndarray, np.ndarray]


class ProbeResult(NamedTuple):
    """Predicted classes (N,), the share that is right, and the penalty or the neighbours."""

    predictions: np.ndarray
    accuracy: float
    setting: float


def linear_probe(
    train: Labelled, test: Labelled, penalties: Sequence[float] = PENALTIES
) -> ProbeResult:
    """Fit logistic regression to standardised features, to convergence.

    The penalty is the one that is best on every fifth training sample of a class (on the second
    where no class has five, and the largest where none has two); the final fit uses all samples.
    Nothing is random.

    Raises:
        ValueError: if labels are missing.
        VideoError: if there is only one class.
    """
    (values, labels), asked = _check(train), _check(test)
    if (labels == labels[0]).all():
        raise VideoError(f'all training samples are of class {labels[0]}: a linear probe needs two')
    held = _held_out(labels)
    fit, choose = (values[~held], labels[~held]), (values[held], labels[held])
    if held.any():
        penalty = max(penalties, key=lambda one: _fit(fit, choose, one).accuracy)
    else:
        penalty = max(penalties)
    return _fit((values, labels), asked, penalty)


def nearest_neighbours(train: Labelled, test: Labelled, neighbours: int = 20) -> ProbeResult:
    """Classify by a vote of the nearest training samples, weighted by exp(cosine).

    Raises:
        ValueError: if labels are missing.
    """
    (values, labels), (asked, wanted) = _check(train), _check(test)
    neighbours = min(neighbours, len(labels))
    vote = KNeighborsClassifier(
        neighbours, metric='cosine', weights=lambda distance: np.exp(1 - distance)
    )
    centre = values.mean(0)
    found = vote.fit(values - centre, labels).predict(asked - centre)
    return ProbeResult(found, float((found == wanted).mean()), neighbours)


def _check(data: Labelled) -> Arrays:
    values, labels = np.asarray(data[0], np.float64), np.asarray(data[1])
    if len(values) != len(labels) or not len(labels):
        raise ValueError(
            f'{len(values)} features and {len(labels)} labels: the numbers must be equal'
        )
    if labels.min() < 0:
        raise ValueError('a clip has no label: the list file needs one in every line')
    return values, labels


def _held_out(labels: np.ndarray) -> np.ndarray:
    rank = np.zeros_like(labels)
    for label in np.unique(labels):
        rank[labels == label] = np.arange((labels == label).sum())
    return rank % 5 == 4 if rank.max() >= 4 else rank == 1


def _fit(train: Arrays, test: Arrays, penalty: float) -> ProbeResult:
    values, labels = train
    # scikit-learn minimises C * sum of losses + half of the squared coefficients
    regression = LogisticRegression(C=0.5 / (penalty * len(labels)), max_iter=500, tol=1e-6)
    model = make_pipeline(StandardScaler(), regression).fit(values, labels)
    found = model.predict(test[0])
    return ProbeResult(found, float((found == test[1]).mean()), penalty)
