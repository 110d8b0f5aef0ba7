"""What frozen features know: a linear probe and nearest neighbours."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PENALTIES = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3)
"""Weights of the squared coefficients that a linear probe chooses from."""
# So that the similarities with all training clips fit into memory.
_ASKED_AT_A_TIME = 1024


@dataclass(frozen=True)
class LabelledFeatures:
    """Features of labelled clips.

    Attributes:
        values (Tensor): (N, C), float32.
        labels (Tensor): (N, ), int64, from 0.
    """

    values: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if len(self.values) != len(self.labels) or not len(self.labels):
            raise ValueError(
                f'{len(self.values)} features and {len(self.labels)} labels: '
                'there must be as many of both, and some'
            )
        if self.labels.min() < 0:
            raise ValueError(
                'a clip has no label: a probe needs a list file with a label in every line'
            )

    def part(self, chosen: Tensor) -> 'LabelledFeatures':
        """Those at the positions (or where the mask is true)."""
        return LabelledFeatures(self.values[chosen], self.labels[chosen])

    def to(self, device: str) -> 'LabelledFeatures':
        """The same on a device, where the probes then compute."""
        return LabelledFeatures(self.values.to(device), self.labels.to(device))


@dataclass(frozen=True)
class ProbeResult:
    """What came out of a probe.

    Attributes:
        predictions (Tensor): (N, ), int64, classes of the test clips.
        accuracy (float): Share of them that is right, from 0 to 1.
        setting (float): The penalty (linear probe) or the number of
            neighbours (k-NN).
    """

    predictions: Tensor
    accuracy: float
    setting: float


def load_labelled_clips(dataset: Any) -> tuple[Tensor, Tensor]:
    """Decode all clips of a dataset, once, for several models.

    Args:
        dataset (Dataset): Gives packed samples of one clip each, all of one
            size, with labels.

    Returns:
        Tuple[Tensor, Tensor]: (N, V, C, T, H, W) uint8 and (N, ) int64. It is
        all kept in memory.
    """
    clips, labels = [], []
    for index in range(len(dataset)):
        sample = dataset[index]
        clips.append(sample['inputs'])
        labels.append(int(sample['data_samples'].gt_label))
    return torch.stack(clips), torch.tensor(labels)


@torch.no_grad()
def extract_features(model: nn.Module, clips: Iterable[Tensor], batch_size: int = 128) -> Tensor:
    """Mean over the tokens of whole clips, after the encoder's final norm.

    Args:
        model (nn.Module): With ``data_preprocessor`` and ``extract_feat``
            giving (B * V, N, C), such as :class:`MaskedAutoencoder`.
        clips (Iterable[Tensor]): (V, C, T, H, W) each, uint8; the mean is
            over the V views as well.
        batch_size (int): Items of ``clips`` at a time.

    Returns:
        Tensor: (number of clips, C), float32, on the CPU.
    """
    parts: Any = model
    training = model.training
    model.eval()
    features = []
    clips = list(clips)
    for start in range(0, len(clips), batch_size):
        batch = dict(inputs=clips[start : start + batch_size], data_samples=None)
        inputs = parts.data_preprocessor(batch)['inputs']
        tokens = parts.extract_feat(inputs).float()
        features.append(tokens.unflatten(0, (len(inputs), -1)).mean((1, 2)).cpu())
    model.train(training)
    return torch.cat(features)


def linear_probe(
    train: LabelledFeatures, test: LabelledFeatures, penalties: Sequence[float] = PENALTIES
) -> ProbeResult:
    """Train a linear classifier on features and test it on others.

    Multinomial logistic regression on standardised features, fitted to
    convergence; the penalty of the squared coefficients is the one that is
    best on a fifth of the training clips, held back for that and given back
    for the final fit. Nothing is random.

    Args:
        train (LabelledFeatures): To fit and to choose the penalty.
        test (LabelledFeatures): Looked at once.
        penalties (Sequence[float]): What to choose from.

    Returns:
        ProbeResult: With the penalty as ``setting``.
    """
    classes = int(max(train.labels.max(), test.labels.max())) + 1
    held_back = _every_fifth_of_a_class(train.labels)
    fit, choose = train.part(~held_back), train.part(held_back)
    penalty = max(penalties, key=lambda value: _fit_and_test(fit, choose, classes, value).accuracy)
    return _fit_and_test(train, test, classes, penalty)


def _every_fifth_of_a_class(labels: Tensor) -> Tensor:
    """(N, ) bool: every fifth clip of each class."""
    rank = torch.zeros_like(labels)
    for label in labels.unique():
        mine = labels == label
        rank[mine] = torch.arange(int(mine.sum()), device=labels.device)
    return rank % 5 == 4


def _fit_and_test(
    train: LabelledFeatures, test: LabelledFeatures, classes: int, penalty: float
) -> ProbeResult:
    deviation, mean = torch.std_mean(train.values.double(), dim=0)
    # A dead feature stays at zero.
    deviation = deviation.clamp(min=1e-6 * deviation.max().clamp(min=1e-12))

    def standardise(values: Tensor) -> Tensor:
        return F.pad((values.double() - mean) / deviation, (0, 1), value=1.0)

    known = standardise(train.values)
    weight = known.new_zeros(classes, known.shape[1], requires_grad=True)
    solver = torch.optim.LBFGS([weight], max_iter=500, line_search_fn='strong_wolfe')

    def closure() -> Tensor:
        solver.zero_grad()
        loss = F.cross_entropy(known @ weight.T, train.labels)
        loss = loss + penalty * weight[:, :-1].square().sum()
        loss.backward()
        return loss

    solver.step(closure)
    predictions = (standardise(test.values) @ weight.detach().T).argmax(1)
    return _result(predictions, test.labels, penalty)


def nearest_neighbours(
    train: LabelledFeatures, test: LabelledFeatures, neighbours: int = 20
) -> ProbeResult:
    """Let the nearest training clips vote, weighted by their cosine.

    Args:
        train (LabelledFeatures): Who votes.
        test (LabelledFeatures): Who is voted on.
        neighbours (int): How many vote, at most all.

    Returns:
        ProbeResult: With the number of neighbours as ``setting``.
    """
    neighbours = min(neighbours, len(train.labels))
    centre = train.values.mean(0)
    known = F.normalize(train.values - centre, dim=1)
    classes = int(train.labels.max()) + 1
    predictions = []
    for values in test.values.split(_ASKED_AT_A_TIME):
        asked = F.normalize(values - centre, dim=1)
        cosine, index = (asked @ known.T).topk(neighbours, dim=1)
        votes = cosine.new_zeros(len(values), classes)
        votes.scatter_add_(1, train.labels[index], cosine.exp())
        predictions.append(votes.argmax(1))
    return _result(torch.cat(predictions), test.labels, neighbours)


def _result(predictions: Tensor, labels: Tensor, setting: float) -> ProbeResult:
    accuracy = (predictions == labels).double().mean().item()
    return ProbeResult(predictions, accuracy, setting)
