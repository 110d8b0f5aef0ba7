"""Probes find what is in the features, and nothing that is not."""

import pytest
import torch
from amd_mm.evaluation.linear_probe import (
    LabelledFeatures,
    extract_features,
    linear_probe,
    nearest_neighbours,
)
from amd_mm.registry import MODELS

from tests import tiny


def blobs(count: int, noise: float, seed: int) -> LabelledFeatures:
    """Three classes around three places, on top of a dead feature."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    centres = 5 * torch.eye(3, 6)
    values = centres[labels] + noise * torch.randn(count, 6, generator=random)
    values[:, 5] = 7.0
    return LabelledFeatures(values, labels)


@pytest.mark.parametrize('probe', [linear_probe, nearest_neighbours])
def test_tells_apart_what_is_apart(probe) -> None:
    result = probe(blobs(90, 0.5, 0), blobs(60, 0.5, 1))
    assert result.accuracy == 1
    assert result.predictions.tolist() == [index % 3 for index in range(60)]


@pytest.mark.parametrize('probe', [linear_probe, nearest_neighbours])
def test_finds_nothing_in_noise(probe) -> None:
    train, test = blobs(300, 1000.0, 0), blobs(300, 1000.0, 1)
    assert abs(probe(train, test).accuracy - 1 / 3) < 0.1


def test_a_linear_probe_is_deterministic_and_scale_free() -> None:
    train, test = blobs(90, 3.0, 0), blobs(60, 3.0, 1)
    first = linear_probe(train, test)
    scale = torch.tensor([1.0, 10.0, 0.01, 3.0, 100.0, 1.0])
    again = linear_probe(
        *(LabelledFeatures(part.values * scale, part.labels) for part in (train, test))
    )
    assert torch.equal(first.predictions, again.predictions)
    assert first.setting == again.setting


def test_refuses_clips_without_labels() -> None:
    with pytest.raises(ValueError, match='no label'):
        LabelledFeatures(torch.zeros(2, 3), torch.tensor([0, -1]))
    with pytest.raises(ValueError, match='as many'):
        LabelledFeatures(torch.zeros(2, 3), torch.tensor([0]))


def test_features_are_the_mean_over_tokens_and_views() -> None:
    torch.manual_seed(0)
    model = MODELS.build(tiny.videomae()).train()
    clips = torch.randint(0, 256, (5, 2, 3, 8, 64, 64), dtype=torch.uint8)
    features = extract_features(model, clips, batch_size=2)
    assert model.training
    mean = torch.tensor(tiny.MEAN).view(3, 1, 1, 1)
    std = torch.tensor(tiny.STD).view(3, 1, 1, 1)
    with torch.no_grad():
        tokens = model.eval().extract_feat((clips[4] - mean) / std)
    assert torch.allclose(features[4], tokens.mean((0, 1)), atol=1e-5)
