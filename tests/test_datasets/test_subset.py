"""Few labels: class-balanced, the same everywhere, and nested."""

from collections import Counter
from pathlib import Path

import pytest
from amd_mm.datasets import RawFrameListDataset, VideoListDataset, class_balanced_subset
from amd_mm.datasets.subset import describe_subset
from amd_mm.errors import VideoError
from hypothesis import given
from hypothesis import strategies as st

NO_PIPELINE = [lambda results: results]
LABELS = st.lists(st.integers(0, 5), min_size=1, max_size=120)
FRACTIONS = st.floats(0.001, 1)


def names_of(labels):
    return [f'folder/{index} clip.mp4' for index in range(len(labels))]


def take(labels, names, *options, **named):
    return {names[index] for index in class_balanced_subset(labels, names, *options, **named)}


@given(LABELS, FRACTIONS, st.integers(0, 3))
def test_a_fraction_of_every_class(labels, fraction, seed):
    chosen = class_balanced_subset(labels, names_of(labels), fraction, seed=seed)
    assert chosen == sorted(set(chosen))
    taken, available = Counter(labels[i] for i in chosen), Counter(labels)
    assert taken.keys() == available.keys()
    for label, count in taken.items():
        exact = fraction * available[label]
        assert abs(count - exact) <= 0.5 or (count == 1 and exact < 0.5)


@given(LABELS, st.integers(1, 40))
def test_a_number_of_every_class(labels, number):
    chosen = class_balanced_subset(labels, names_of(labels), samples_per_class=number)
    taken = Counter(labels[index] for index in chosen)
    assert taken == {label: min(number, count) for label, count in Counter(labels).items()}


@given(LABELS, FRACTIONS, st.randoms())
def test_the_order_of_the_list_does_not_matter(labels, fraction, random):
    names = names_of(labels)
    pairs = list(zip(labels, names))
    random.shuffle(pairs)
    shuffled, shuffled_names = zip(*pairs)
    assert take(labels, names, fraction) == take(shuffled, shuffled_names, fraction)


@given(LABELS, FRACTIONS, FRACTIONS)
def test_subsets_are_nested(labels, one, other):
    names = names_of(labels)
    less, more = (take(labels, names, fraction) for fraction in sorted((one, other)))
    assert less <= more
    assert take(labels, names, 1.0) == set(names)
    four, sixteen = (take(labels, names, samples_per_class=n) for n in (4, 16))
    assert four <= sixteen


def test_another_seed_takes_others_and_chance_is_even():
    labels, names = [0] * 400, names_of([0] * 400)
    parts = [take(labels, names, 0.5, seed=seed) for seed in range(40)]
    assert len({frozenset(part) for part in parts}) == 40
    drawn = Counter(name for part in parts for name in part)
    # Binomial with 40 draws of one half; 6 deviations are 19.
    assert all(1 <= drawn[name] <= 39 for name in names)


def test_golden_choice():
    """The samples of published results must not change."""
    names = [f'v{index}.mp4' for index in range(20)]
    assert class_balanced_subset([i % 2 for i in range(20)], names, 0.2) == [6, 8, 9, 19]


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(), 'not both'),
        (dict(label_fraction=0.1, samples_per_class=3), 'not both'),
        (dict(label_fraction=0.0), 'label_fraction must be above 0 and at most 1'),
        (dict(label_fraction=10.0), 'label_fraction must be'),
        (dict(samples_per_class=0), 'samples_per_class must be a whole number'),
        (dict(samples_per_class=1.5), 'samples_per_class must be a whole number'),
        (dict(label_fraction=0.5), 'b.mp4 has no label'),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        class_balanced_subset([0, -1], ['a.mp4', 'b.mp4'], **options)


def test_small_classes_are_named():
    labels = [0] * 10 + [1] * 3
    chosen = class_balanced_subset(labels, names_of(labels), samples_per_class=4)
    text = describe_subset(labels, chosen, 4)
    assert '7 of 13 samples in 2 classes' in text
    assert 'all samples are used of 1 classes with fewer than 4: 1' in text


def write(path: Path, lines) -> str:
    path.write_text(''.join(line + '\n' for line in lines))
    return str(path)


def taken(dataset, key='filename'):
    return [dataset.get_data_info(i)[key] for i in range(len(dataset))]


def test_datasets_take_a_part(tmp_path):
    lines = [f'{index}.mp4 {index % 4}' for index in range(80)]
    ann_file = write(tmp_path / 'videos.txt', lines)
    ten, one, other = (
        VideoListDataset(ann_file, NO_PIPELINE, label_fraction=share, subset_seed=seed)
        for share, seed in ((0.1, 0), (0.01, 0), (0.1, 1))
    )
    assert len(ten) == 8 and len(one) == 4
    assert set(taken(one)) < set(taken(ten)) != set(taken(other))
    # Neither the place of the videos nor the order of the list decides.
    elsewhere = VideoListDataset(
        write(tmp_path / 'reversed.txt', lines[::-1]),
        NO_PIPELINE,
        label_fraction=0.1,
        data_prefix=dict(video='/elsewhere'),
    )
    assert {Path(name).name for name in taken(elsewhere)} == set(taken(ten))
    frames = write(tmp_path / 'frames.txt', (f'{index} 20 {index % 4}' for index in range(80)))
    few = RawFrameListDataset(frames, NO_PIPELINE, samples_per_class=3)
    assert len(taken(few, 'frame_dir')) == 12


def test_datasets_name_wrong_options(tmp_path):
    bare = write(tmp_path / 'bare.txt', ['b.mp4'])
    with pytest.raises(VideoError, match='bare.txt.* has no label'):
        VideoListDataset(bare, NO_PIPELINE, label_fraction=0.5)
    with pytest.raises(ValueError, match='multi_class=True'):
        VideoListDataset(bare, NO_PIPELINE, label_fraction=0.5, multi_class=True, num_classes=3)
