"""Accuracy of probes on separable features and on noise."""

import numpy as np
import pytest
import torch
from amd_mm.errors import VideoError
from amd_mm.evaluation import probes
from amd_mm.evaluation.probes import attentive_probe, linear_probe, nearest_neighbours
from torch.utils.data import DataLoader


def blobs(count: int, noise: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Three classes around three places, and a constant feature."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    values = 5 * torch.eye(3, 6)[labels] + noise * torch.randn(count, 6, generator=random)
    values[:, 5] = 7.0
    return values, labels


@pytest.mark.parametrize('probe', [linear_probe, nearest_neighbours])
def test_accuracy_of_separate_classes_and_of_noise(probe):
    result = probe(blobs(90, 0.5, 0), blobs(60, 0.5, 1))
    assert result.accuracy == 1
    assert result.predictions.tolist() == [index % 3 for index in range(60)]
    train, test = blobs(300, 1000.0, 0), blobs(300, 1000.0, 1)
    assert abs(probe(train, test).accuracy - 1 / 3) < 0.1


def test_the_linear_probe_is_the_optimum_of_its_loss():
    """Against plain L-BFGS on mean cross-entropy + penalty * squared coefficients."""
    (values, labels), (asked, _) = train, test = blobs(90, 3.0, 0), blobs(60, 3.0, 1)
    found = linear_probe(train, test, penalties=[1e-2])
    deviation, mean = torch.std_mean(values[:, :5].double(), 0, correction=0)
    known, asked = ((one[:, :5].double() - mean) / deviation for one in (values, asked))
    weight = torch.zeros(3, 5, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS([weight, bias], max_iter=500, line_search_fn='strong_wolfe')

    def closure():
        solver.zero_grad()
        loss = torch.nn.functional.cross_entropy(known @ weight.T + bias, labels)
        loss = loss + 1e-2 * weight.square().sum()
        loss.backward()
        return loss

    solver.step(closure)
    expected = (asked @ weight.T + bias).argmax(1)
    np.testing.assert_array_equal(found.predictions, expected.numpy())


def test_a_linear_probe_is_deterministic_and_scale_free():
    train, test = blobs(90, 3.0, 0), blobs(60, 3.0, 1)
    first = linear_probe(train, test)
    scale = torch.tensor([1.0, 10.0, 0.01, 3.0, 100.0, 1.0])
    again = linear_probe(*((values * scale, labels) for values, labels in (train, test)))
    np.testing.assert_array_equal(first.predictions, again.predictions)
    assert first.setting == again.setting


@pytest.mark.parametrize('per_class, penalty', [(1, 1e-3), (2, None), (5, None)])
def test_few_labels(per_class, penalty):
    result = linear_probe(blobs(3 * per_class, 0.1, 0), blobs(60, 0.1, 1))
    assert result.accuracy > 0.6
    assert penalty in (None, result.setting)


def one_telling_token(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens (count, 16, 8): one, at any place, has a key and its class; the mean hides both."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    tokens = torch.randn(count, 16, 8, generator=random)
    tokens[:, :, 0] = 0
    places = torch.randint(0, 16, (count,), generator=random)
    tokens[torch.arange(count), places, 0] = 6.0
    tokens[torch.arange(count), places, 1] = 2.0 * labels - 1
    return tokens, labels


def test_an_attentive_probe_finds_the_telling_token():
    train, test = one_telling_token(400, 0), one_telling_token(200, 1)
    pooled = linear_probe(*((values.mean(1), labels) for values, labels in (train, test)))
    found = attentive_probe(train, test, (1e-6, 1e-2), (0.01,), epochs=40, batch_size=32)
    assert pooled.accuracy < 0.8
    assert found.accuracy > 0.95
    assert found.setting == (1e-2, 0.01)


def test_an_attentive_probe_is_deterministic():
    train, test = one_telling_token(60, 0), one_telling_token(50, 1)
    first, again = (attentive_probe(train, test, epochs=2) for _ in range(2))
    np.testing.assert_array_equal(first.predictions, again.predictions)
    assert first.setting == again.setting


def test_poolers_trained_at_once_equal_one_trained_alone():
    train, test = one_telling_token(100, 0), one_telling_token(50, 1)
    batches = DataLoader(list(zip(*train)), 25)
    settings = [(1e-3, 0.01), (1e-2, 0.1)]
    together = probes._train_poolers(batches, 2, settings, 2, 'cpu')
    for pooler, setting in zip(together, settings):
        (alone,) = probes._train_poolers(batches, 2, [setting], 2, 'cpu')
        torch.testing.assert_close(pooler(test[0]), alone(test[0]))


def test_one_class():
    values, labels = blobs(9, 0.1, 0)
    with pytest.raises(VideoError, match='class 0: a linear probe needs two'):
        linear_probe((values, 0 * labels), (values, labels))


def test_missing_labels():
    for labels, message in (([0, -1], 'no label'), ([0], '2 features and 1 labels')):
        with pytest.raises(ValueError, match=message):
            linear_probe((torch.zeros(2, 3), torch.tensor(labels)), blobs(9, 1.0, 0))
