"""Keys, seeds and the order in which samples come."""

import itertools
import pickle
import random

import numpy as np
import pytest
import torch
from amd_mm.datasets import EpochSeededSampler, SampleKey, WeightedSampler, seeded_randomness
from amd_mm.errors import ConfigError
from amd_mm.registry import DATASETS
from hypothesis import given
from hypothesis import strategies as st
from mmengine.dataset import ConcatDataset, DefaultSampler
from torch.utils.data import DataLoader, Dataset

from .pipelines import video_pipeline

SIZES = st.integers(1, 50)
SEEDS = st.integers(-(2**40), 2**40)


def draw():
    return random.random(), float(np.random.rand()), float(torch.rand(()))


class Draws(Dataset):
    """Gives what the generators give under the key it is asked for."""

    def __len__(self):
        return 11

    def __getitem__(self, key):
        with seeded_randomness(key.entropy()):
            return int(key), key.epoch, *draw()


@given(index=st.integers(0, 10**9), epoch=st.integers(0, 10**4), seed=SEEDS)
def test_a_key_is_an_index_that_travels(index, epoch, seed):
    key = SampleKey(index, epoch, seed)
    assert key == index and hash(key) == hash(index)
    again = pickle.loads(pickle.dumps(key))
    assert type(again) is SampleKey and repr(again) == repr(key)
    assert list(range(3))[SampleKey(1, epoch, seed)] == 1


def test_wrapping_datasets_keep_the_key():
    key = SampleKey(12, epoch=3, seed=5)
    for moved in (key - 10, key % 10):
        assert moved == 2
        assert (moved.epoch, moved.seed, moved.position) == (3, 5, 12)


@given(a=st.tuples(SIZES, SIZES), b=st.tuples(SIZES, SIZES), seed=SEEDS)
def test_randomness_is_a_function_of_the_key(a, b, seed):

    def under(position, epoch):
        key = SampleKey(position, epoch, seed)
        with seeded_randomness(key.entropy()):
            return draw()

    assert under(*a) == under(*a)
    assert (under(*a) == under(*b)) == (a == b)


def test_the_old_states_come_back_even_after_an_error():
    entropy = SampleKey(1, 2, 3).entropy()
    random.seed(7), np.random.seed(7), torch.manual_seed(7)
    expected = [draw() for _ in range(2)]
    random.seed(7), np.random.seed(7), torch.manual_seed(7)
    first = draw()
    with pytest.raises(KeyError):
        with seeded_randomness(entropy):
            draw()
            raise KeyError
    assert [first, draw()] == expected


@given(
    size=SIZES,
    seed=st.integers(0, 1000),
    epoch=st.integers(0, 9),
    world=st.integers(1, 4),
    shuffle=st.booleans(),
    round_up=st.booleans(),
)
def test_order_is_that_of_the_default_sampler(size, seed, epoch, world, shuffle, round_up):
    drawn = []
    for rank in range(world):
        options = dict(shuffle=shuffle, seed=seed, round_up=round_up)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr('mmengine.dataset.sampler.get_dist_info', lambda: (rank, world))
            ours = EpochSeededSampler(range(size), **options)
            stock = DefaultSampler(range(size), **options)
        ours.set_epoch(epoch)
        stock.set_epoch(epoch)
        keys = list(ours)
        assert keys == list(stock) and len(ours) == len(keys)
        assert all((k.epoch, k.seed) == (epoch, seed) for k in keys)
        drawn += keys
    assert set(drawn) == set(range(size))


def loader(workers, seed=3):
    return DataLoader(
        Draws(),
        batch_size=4,
        sampler=EpochSeededSampler(Draws(), seed=seed),
        num_workers=workers,
        persistent_workers=workers > 0,
    )


def epochs(data, numbers):
    rows = []
    for number in numbers:
        data.sampler.set_epoch(number)
        rows += [torch.stack(batch, 1) for batch in data]
    return torch.cat(rows)


def test_workers_do_not_matter_and_resuming_goes_on():
    alone, workers = loader(0), loader(2)
    everything = epochs(alone, range(3))
    assert everything.shape == (33, 5)
    assert torch.equal(everything, epochs(workers, range(3)))
    # A new process that begins at epoch 2.
    assert torch.equal(everything[22:], epochs(loader(2), [2]))
    # Each epoch draws anew, and so does another seed.
    assert not torch.equal(everything[:11, 2], everything[11:22, 2])
    assert not torch.equal(everything, epochs(loader(0, seed=4), range(3)))


def test_an_infinite_sampler_goes_on_as_others_begin_again():
    dataset = list(range(6))
    begun_again = EpochSeededSampler(dataset, seed=3)
    expected = []
    for epoch in range(2, 5):
        begun_again.set_epoch(epoch)
        expected += list(begun_again)
    sampler = EpochSeededSampler(dataset, seed=3, infinite=True)
    sampler.set_epoch(2)
    assert len(sampler) == 6
    found = list(itertools.islice(sampler, 18))
    assert [repr(key) for key in found] == [repr(key) for key in expected]
    loader = DataLoader(dataset, batch_size=3, sampler=sampler)
    assert len(list(itertools.islice(loader, 7))) == 7 > len(loader)


def test_nothing_to_sample_from():
    with pytest.raises(ValueError, match='empty'):
        EpochSeededSampler([])


def test_concatenated_datasets(tiny_video_folder):
    one = DATASETS.build(
        dict(
            type='amd_mm.VideoFolderDataset',
            data_root=str(tiny_video_folder),
            pipeline=video_pipeline(),
        )
    )
    both = ConcatDataset([one, one])
    # The second dataset's first video, under the key of position 6.
    first, again = (both[SampleKey(6, epoch=4, seed=1)] for _ in range(2))
    assert (first['data_samples'].sample_index, first['data_samples'].epoch) == (0, 4)
    assert torch.equal(first['inputs'], again['inputs'])


def test_data_sets_in_shares(monkeypatch):
    """An epoch has each data set's share, in other orders, and equal parts for all processes."""
    data = torch.utils.data.ConcatDataset([Draws(), Draws(), Draws()])  # as MMEngine's
    sampler = WeightedSampler(data, weights=(1, 2, 8), seed=3)
    epochs = []
    for epoch in (0, 1):
        sampler.set_epoch(epoch)
        keys = list(sampler)
        assert len(keys) == len(sampler) == 33
        assert np.bincount(np.array(keys) // 11).tolist() == [3, 6, 24]
        # Each sample of the last data set twice before one of them a third time.
        assert sorted(np.bincount(np.array([key - 22 for key in keys if key >= 22]))) == (
            [2] * 9 + [3] * 2
        )
        assert len({key.position for key in keys}) == 33
        # Repetitions are other crops of the same sample.
        draws = [data[key] for key in keys]
        assert len({one[2:] for one in draws}) == 33
        assert [one[0] for one in draws] == [key % 11 for key in keys]
        epochs.append(keys)
        parts = []
        for rank in range(2):
            monkeypatch.setattr(
                'mmengine.dataset.sampler.get_dist_info', lambda rank=rank: (rank, 2)
            )
            part = WeightedSampler(data, weights=(1, 2, 8), seed=3)
            part.set_epoch(epoch)
            parts.append(list(part))
        assert [len(part) for part in parts] == [17, 17]
        together = [key for pair in zip(*parts) for key in pair]
        assert together[:33] == keys and together[33] == keys[0]
        monkeypatch.undo()
    assert epochs[0] != epochs[1]
    for wrong, weights in ((data, (1, 2)), (data, (1, 0, 1)), (Draws(), (1,))):
        with pytest.raises(ConfigError, match='must be a positive number for each'):
            WeightedSampler(wrong, weights=weights)
