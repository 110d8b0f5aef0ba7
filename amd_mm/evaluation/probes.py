"""Classifiers of frozen features: logistic regression, nearest neighbours, attentive pooling."""

import math
from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch
from amd_mm.errors import VideoError
from numpy.typing import ArrayLike
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset

PENALTIES = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3)
"""Weights of the squared coefficients, relative to the mean loss of a sample."""

LEARNING_RATES = (1e-4, 3e-4, 1e-3, 3e-3)
WEIGHT_DECAYS = (0.01, 0.1, 0.4)

Labelled = tuple[ArrayLike, ArrayLike]
"""Features (N, C) and their labels (N,), from 0; arrays or tensors on the CPU."""


Arrays = tuple[np.ndarray, np.ndarray]


class ProbeResult(NamedTuple):
    """Predicted classes (N,), the share that is right, and the penalty or the neighbours.

    The setting of an attentive probe is a pair, learning rate and weight decay.
    """

    predictions: np.ndarray
    accuracy: float
    setting: Any


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


class AttentivePooler(nn.Module):
    """Classify tokens: one learned query attends to all of them; a linear layer follows.

    Args:
        width: C.
        classes: how many.
    """

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        heads = width // 64 if width % 64 == 0 else 1
        self.query = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.before, self.after = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.classify = nn.Linear(width, classes)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, C) -> (B, classes)."""
        keys = self.before(tokens)
        query = self.query.expand(len(tokens), -1, -1)
        pooled, _ = self.attention(query, keys, keys, need_weights=False)  # (B, 1, C)
        return self.classify(self.after(query + pooled)[:, 0])


def attentive_probe(
    train: tuple[Sequence, ArrayLike],
    test: tuple[Sequence, ArrayLike],
    learning_rates: Sequence[float] = LEARNING_RATES,
    weight_decays: Sequence[float] = WEIGHT_DECAYS,
    epochs: int = 20,
    batch_size: int = 64,
    device: str | torch.device = 'cpu',
    workers: int = 0,
) -> ProbeResult:
    """Train an :class:`AttentivePooler` for each setting, all in one pass over the tokens.

    The setting is the one that is best on the held-out samples of :func:`linear_probe` (the first
    without any); a pooler of that setting is then trained on all samples. The seed is fixed.

    Args:
        train: a sequence of tokens (N, C), an array or a reader of files; and their labels.
        test: the same.
        learning_rates: each is combined with each weight decay.
        weight_decays: of AdamW.
        epochs: passes over the training set, with a cosine schedule.
        batch_size: samples at a time.
        device: of the training.
        workers: processes that read tokens.

    Raises:
        ValueError: if labels are missing.
    """
    settings = list(product(learning_rates, weight_decays))
    labels, wanted = _check_labels(*train), _check_labels(*test)
    classes = 1 + int(max(labels.max(), wanted.max()))
    held = _held_out(labels)

    def loader(values: Sequence, targets: np.ndarray, at: np.ndarray, shuffle: bool) -> DataLoader:
        return DataLoader(
            _Samples(values, targets, np.flatnonzero(at)),
            batch_size,
            shuffle=shuffle,
            num_workers=workers,
            generator=torch.Generator().manual_seed(0),
        )

    best = settings[0]
    if held.any() and len(settings) > 1:
        poolers = _train_poolers(
            loader(train[0], labels, ~held, True), classes, settings, epochs, device
        )
        found = _predict(poolers, loader(train[0], labels, held, False), device)
        best = settings[int((found == labels[held]).mean(1).argmax())]
    every = np.ones(len(labels), bool), np.ones(len(wanted), bool)
    pooler = _train_poolers(
        loader(train[0], labels, every[0], True), classes, [best], epochs, device
    )
    found = _predict(pooler, loader(test[0], wanted, every[1], False), device)[0]
    return ProbeResult(found, float((found == wanted).mean()), best)


class _Samples(Dataset):
    """Tokens and labels of some samples."""

    def __init__(self, values: Sequence, labels: np.ndarray, indices: np.ndarray) -> None:
        self.values, self.labels, self.indices = values, labels, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        at = int(self.indices[index])
        return torch.as_tensor(self.values[at], dtype=torch.float32), int(self.labels[at])


def _train_poolers(
    batches: DataLoader,
    classes: int,
    settings: Sequence[tuple[float, float]],
    epochs: int,
    device: str | torch.device,
) -> nn.ModuleList:
    """Train a pooler for each (learning rate, weight decay), all from the same weights."""
    width, poolers = batches.dataset[0][0].shape[-1], nn.ModuleList()
    for _ in settings:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            poolers.append(AttentivePooler(width, classes))
    poolers.to(device)
    optimizer = torch.optim.AdamW(
        [
            dict(params=list(pooler.parameters()), lr=rate, weight_decay=decay)
            for pooler, (rate, decay) in zip(poolers, settings)
        ]
    )
    steps = epochs * len(batches)
    warmup = max(1, steps // 10)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min((step + 1) / warmup, 0.5 * (1 + math.cos(math.pi * step / steps))),
    )
    for _ in range(epochs):
        for tokens, labels in batches:
            tokens, labels = tokens.to(device), labels.to(device)
            losses = [cross_entropy(pooler(tokens), labels) for pooler in poolers]
            optimizer.zero_grad()
            torch.stack(losses).sum().backward()  # no pooler shares a parameter with another
            optimizer.step()
            schedule.step()
    return poolers


@torch.no_grad()
def _predict(poolers: nn.ModuleList, batches: DataLoader, device: str | torch.device) -> np.ndarray:
    """Classes by each pooler (K, N)."""
    found = [
        torch.stack([pooler(tokens.to(device)).argmax(1).cpu() for pooler in poolers])
        for tokens, _ in batches
    ]
    return torch.cat(found, 1).numpy()


def _check(data: Labelled) -> Arrays:
    values = np.asarray(data[0], np.float64)
    return values, _check_labels(values, data[1])


def _check_labels(values: Sequence | np.ndarray, labels: ArrayLike) -> np.ndarray:
    labels = np.asarray(labels)
    if len(values) != len(labels) or not len(labels):
        raise ValueError(
            f'{len(values)} features and {len(labels)} labels: the numbers must be equal'
        )
    if labels.min() < 0:
        raise ValueError('a clip has no label: the list file needs one in every line')
    return labels


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
