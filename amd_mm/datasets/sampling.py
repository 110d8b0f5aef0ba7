"""Samples that depend on (seed, epoch, index) and on nothing else.

With the stock sampler a sample's random crop and clip depend on which worker
draws it and on what that worker drew before: another ``num_workers``, another
world size or a resumed run gives other data. Here the sampler hands out
indices that know their epoch and seed, and the dataset seeds the random
number generators from them around its pipeline.
"""

import random
from collections.abc import Iterator, Sized
from contextlib import contextmanager

import numpy as np
import torch
from amd_mm.registry import DATA_SAMPLERS
from mmengine.dataset import DefaultSampler


class SampleKey(int):
    """A dataset index that knows its epoch and seed.

    It is an ``int``, so every dataset takes it; those of this package also
    draw their randomness from it. MMEngine's ``ConcatDataset`` and
    ``RepeatDataset`` reach their inner dataset by subtraction and modulo,
    which keep epoch, seed and the original position here. (Other wrappers
    that look indices up in a list give plain ints to the dataset inside,
    which then uses the ambient generators.)

    Args:
        index (int): The dataset index.
        epoch (int): From 0.
        seed (int): The run's seed.
        position (int, optional): The index in the outermost dataset, by
            which randomness is drawn, so that two repeats of one video in
            an epoch differ. Defaults to ``index``.
    """

    epoch: int
    seed: int
    position: int

    def __new__(
        cls, index: int, epoch: int, seed: int = 0, position: int | None = None
    ) -> 'SampleKey':
        """An ``int`` is made here: it cannot be changed in ``__init__``."""
        key = super().__new__(cls, index)
        key.epoch = epoch
        key.seed = seed
        key.position = int(index) if position is None else position
        return key

    def __getnewargs__(self) -> tuple:  # keys travel to worker processes
        return int(self), self.epoch, self.seed, self.position

    def _moved(self, index: int) -> 'SampleKey':
        return SampleKey(index, self.epoch, self.seed, self.position)

    def __sub__(self, other: int) -> 'SampleKey':
        return self._moved(int(self) - int(other))

    def __mod__(self, other: int) -> 'SampleKey':
        return self._moved(int(self) % int(other))

    def __repr__(self) -> str:
        return (
            f'SampleKey({int(self)}, epoch={self.epoch}, '
            f'seed={self.seed}, position={self.position})'
        )

    def entropy(self, attempt: int) -> np.random.SeedSequence:
        """What the randomness of one attempt at this sample grows from.

        Args:
            attempt (int): From 0; how many files were given up before.

        Returns:
            np.random.SeedSequence: Of (seed, epoch, position, attempt).
        """
        return np.random.SeedSequence(
            [self.seed % 2**32, self.epoch, self.position % 2**32, attempt]
        )


@contextmanager
def seeded_randomness(entropy: np.random.SeedSequence) -> Iterator[None]:
    """Run a block under seeded generators, then put the old states back.

    Python's ``random``, ``numpy.random`` and torch's CPU generator, which is
    what transforms draw from.

    Args:
        entropy (np.random.SeedSequence): Decides all three seeds.
    """
    states = (random.getstate(), np.random.get_state(), torch.default_generator.get_state())
    seeds = [int(word) for word in entropy.generate_state(3)]
    random.seed(seeds[0])
    np.random.seed(seeds[1])
    # Not torch.manual_seed: that would also reseed the accelerators.
    torch.default_generator.manual_seed(seeds[2])
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.default_generator.set_state(states[2])


@DATA_SAMPLERS.register_module()
class EpochSeededSampler(DefaultSampler):
    """MMEngine's ``DefaultSampler`` whose indices know epoch and seed.

    The order is that of ``DefaultSampler``. The dataset draws a sample's
    randomness from (seed, epoch, index): the same sample comes out for any
    number of workers and processes, and in a run that was resumed at the
    beginning of that epoch.

    Args:
        dataset (Sized): The dataset.
        shuffle (bool): Whether to shuffle anew in each epoch. Defaults to
            True.
        seed (int, optional): The same on all processes. MMEngine's runner
            gives it the run's seed (``randomness=dict(seed=...)``), which a
            config should fix: a resumed run has to be given the same one.
            Defaults to None, which draws one for all processes.
        round_up (bool): Whether to repeat samples until they divide evenly
            among the processes. Defaults to True.
        infinite (bool): Go on with the next epoch by itself, for
            ``IterBasedTrainLoop``, which otherwise waits two seconds between
            epochs. Defaults to False.

    Raises:
        ValueError: The dataset is empty.
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
            raise ValueError('the dataset is empty: nothing to sample from')
        super().__init__(dataset, shuffle=shuffle, seed=seed, round_up=round_up)
        self.infinite = infinite

    def __iter__(self) -> Iterator[SampleKey]:
        """Keys of this process in this epoch, and in those after it."""
        epoch, seed = self.epoch, self.seed
        while True:
            for index in super().__iter__():
                yield SampleKey(index, epoch, seed)
            if not self.infinite:
                return
            epoch += 1
            self.set_epoch(epoch)
