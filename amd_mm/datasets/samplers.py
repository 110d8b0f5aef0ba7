"""Samples that depend only on seed, epoch and index.

With MMEngine's sampler, the random crop of a sample depends on the worker and on the samples that
the worker drew before. The data then change with ``num_workers``, with the world size and when a
run is resumed. Here the sampler yields indices that carry epoch and seed, and the dataset seeds the
random number generators from them while it runs its pipeline.
"""

import random
from collections.abc import Iterator, Sequence, Sized
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from amd_mm.registry import DATA_SAMPLERS
from mmengine.dataset import ConcatDataset, DefaultSampler

from ..errors import ConfigError


class SampleKey(int):
    """A dataset index with its epoch and seed. It is an int, so every dataset accepts it.

    MMEngine's ``ConcatDataset`` and ``RepeatDataset`` compute the inner index by subtraction and
    modulo; both keep epoch, seed and position. Wrappers that look indices up in a list pass on
    plain ints, and the inner dataset then draws from the global generators.

    ``position`` is the index in the outermost dataset (``index`` by default). It seeds the
    randomness, so that two repeats of a video in an epoch differ.
    """

    epoch: int
    seed: int
    position: int

    def __new__(
        cls, index: int, epoch: int, seed: int = 0, position: int | None = None
    ) -> 'SampleKey':
        """Set the attributes here, because an int is immutable."""
        key = super().__new__(cls, index)
        key.epoch = epoch
        key.seed = seed
        key.position = int(index) if position is None else position
        return key

    def __getnewargs__(self) -> tuple:  # keys travel to worker processes
        return int(self), self.epoch, self.seed, self.position

    def __sub__(self, other: int) -> 'SampleKey':
        return SampleKey(int(self) - int(other), self.epoch, self.seed, self.position)

    def __mod__(self, other: int) -> 'SampleKey':
        return SampleKey(int(self) % int(other), self.epoch, self.seed, self.position)

    def __repr__(self) -> str:
        return (
            f'SampleKey({int(self)}, epoch={self.epoch}, '
            f'seed={self.seed}, position={self.position})'
        )

    def entropy(self) -> np.random.SeedSequence:
        """The seed of this sample's randomness."""
        return np.random.SeedSequence([self.seed % 2**32, self.epoch, self.position % 2**32])


@contextmanager
def seeded_randomness(entropy: np.random.SeedSequence) -> Iterator[None]:
    """Seed ``random``, ``numpy.random`` and torch's CPU generator; restore their states after."""
    states = (random.getstate(), np.random.get_state(), torch.default_generator.get_state())
    seeds = [int(word) for word in entropy.generate_state(3)]
    random.seed(seeds[0])
    np.random.seed(seeds[1])
    torch.default_generator.manual_seed(seeds[2])  # torch.manual_seed also reseeds accelerators
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.default_generator.set_state(states[2])


@DATA_SAMPLERS.register_module()
class EpochSeededSampler(DefaultSampler):
    """MMEngine's ``DefaultSampler``, yielding :class:`SampleKey` in the same order.

    Args:
        seed: the same on all processes. MMEngine's runner passes the seed of the run; exact
            resuming needs a fixed one (``randomness=dict(seed=...)``).
        round_up: repeat samples until they divide evenly among the processes.
        infinite: continue with the next epoch. For ``IterBasedTrainLoop``, which otherwise waits
            two seconds between epochs.

    Raises:
        ValueError: the dataset is empty.
    """

    def __init__(
        self,
        dataset: Sized,
        shuffle: bool = True,
        seed: int | None = None,
        round_up: bool = True,
        infinite: bool = False,
    ) -> None:
        if len(dataset) == 0:
            raise ValueError('the dataset is empty')
        super().__init__(dataset, shuffle=shuffle, seed=seed, round_up=round_up)
        self.infinite = infinite

    def __iter__(self) -> Iterator[SampleKey]:
        epoch, seed = self.epoch, self.seed
        while True:
            for index, position in self._samples():
                yield SampleKey(index, epoch, seed, position)
            if not self.infinite:
                return
            epoch += 1
            self.set_epoch(epoch)

    def _samples(self) -> Iterator[tuple[int, int]]:
        """Index and position of each sample of this epoch and process."""
        return ((index, index) for index in super().__iter__())


@DATA_SAMPLERS.register_module()
class WeightedSampler(EpochSeededSampler):
    """Draws from the data sets of MMEngine's ``ConcatDataset`` in given shares.

    An epoch has as many samples as the data sets have together. Of each data set it has its share,
    all different until each was there once; the randomness of a repetition is another one.

    Args:
        weights: one for each data set, in any unit: ``(3, 1)`` for three quarters and a quarter.
        **other: of :class:`EpochSeededSampler`.

    Raises:
        ConfigError: the dataset has no parts, or the weights are not one positive number for each.
    """

    def __init__(self, dataset: ConcatDataset, weights: Sequence[float], **other: Any) -> None:
        super().__init__(dataset, **other)
        parts = len(getattr(dataset, 'datasets', ()))
        if len(weights) != parts or min(weights) <= 0:
            raise ConfigError(
                f'weights={weights} of amd_mm.WeightedSampler must be a positive number for each '
                f'of the {parts} data sets of mmengine.ConcatDataset'
            )
        self.weights = weights

    def _samples(self) -> Iterator[tuple[int, int]]:
        generator = torch.Generator().manual_seed((self.seed + self.epoch) % 2**63)
        sizes = np.diff(self.dataset.cumulative_sizes, prepend=0).tolist()
        total = sum(sizes)
        ends = np.rint(np.cumsum(self.weights) / sum(self.weights) * total).astype(int)
        samples: list[tuple[int, int]] = []
        for size, count, end in zip(
            sizes, np.diff(ends, prepend=0).tolist(), self.dataset.cumulative_sizes
        ):
            order: list[int] = []
            while len(order) < count:
                order += torch.randperm(size, generator=generator).tolist()
            indices = [end - size + one for one in order[:count]]
            samples += [(one, one + place // size * total) for place, one in enumerate(indices)]
        if self.shuffle:
            samples = [samples[i] for i in torch.randperm(total, generator=generator).tolist()]
        if self.round_up:
            samples = (samples * (self.total_size // total + 1))[: self.total_size]
        return iter(samples[self.rank : self.total_size : self.world_size])
