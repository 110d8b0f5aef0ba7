"""Few labels: balanced, the same everywhere, and one inside the other."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from amd_mm.datasets import (
    LabelBudget,
    ListFileError,
    RawFrameListDataset,
    VideoListDataset,
    subset,
)
from hypothesis import given
from hypothesis import strategies as st

FRAMES_ONLY = [lambda results: results]
LABELS = st.lists(st.integers(0, 5), min_size=1, max_size=120)
FRACTIONS = st.floats(0.001, 1)


def names_of(labels):
    return [f'folder/{index} clip.mp4' for index in range(len(labels))]


def take(budget, labels, names):
    return {names[index] for index in budget.choose(labels, names)}


@given(LABELS, FRACTIONS, st.integers(0, 3))
def test_a_fraction_of_every_class(labels, fraction, seed):
    names = names_of(labels)
    chosen = LabelBudget(fraction, seed=seed).choose(labels, names)
    assert chosen == sorted(set(chosen))
    taken, available = Counter(labels[i] for i in chosen), Counter(labels)
    assert taken.keys() == available.keys()
    for label, count in taken.items():
        exact = fraction * available[label]
        assert abs(count - exact) <= 0.5 or (count == 1 and exact < 0.5)


@given(LABELS, st.integers(1, 40))
def test_a_number_of_every_class(labels, number):
    budget = LabelBudget(per_class=number)
    chosen = budget.choose(labels, names_of(labels))
    taken = Counter(labels[index] for index in chosen)
    assert taken == {label: min(number, count) for label, count in Counter(labels).items()}


@given(LABELS, FRACTIONS, st.randoms())
def test_the_order_of_the_list_does_not_matter(labels, fraction, random):
    names, budget = names_of(labels), LabelBudget(fraction)
    pairs = list(zip(labels, names))
    random.shuffle(pairs)
    shuffled, shuffled_names = zip(*pairs)
    assert take(budget, labels, names) == take(budget, shuffled, shuffled_names)


@given(LABELS, FRACTIONS, FRACTIONS)
def test_less_is_part_of_more(labels, one, other):
    names = names_of(labels)
    less, more = (take(LabelBudget(fraction), labels, names) for fraction in sorted((one, other)))
    assert less <= more
    assert take(LabelBudget(1.0), labels, names) == set(names)
    four, sixteen = (take(LabelBudget(per_class=n), labels, names) for n in (4, 16))
    assert four <= sixteen


def test_another_seed_takes_others_and_chance_is_even():
    labels, names = [0] * 400, names_of([0] * 400)
    parts = [take(LabelBudget(0.5, seed=seed), labels, names) for seed in range(40)]
    assert len({frozenset(part) for part in parts}) == 40
    drawn = Counter(name for part in parts for name in part)
    # Binomial with 40 draws of one half; 6 deviations are 19.
    assert all(1 <= drawn[name] <= 39 for name in names)


def test_another_process_takes_the_same():
    names = [f'v{index}.mp4' for index in range(60)]
    labels = [index % 3 for index in range(60)]
    # The module alone: importing the package takes seconds.
    program = (
        f'import runpy; made = runpy.run_path({subset.__file__!r}); '
        f'print(made["LabelBudget"](.1).choose({labels}, {names}))'
    )
    answer = subprocess.run(
        [sys.executable, '-c', program],
        env={**os.environ, 'PYTHONHASHSEED': '7'},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert answer.strip() == str(LabelBudget(0.1).choose(labels, names))


def test_golden_choice():
    """What published results were made with must not change."""
    names = [f'v{index}.mp4' for index in range(20)]
    chosen = LabelBudget(0.2).choose([index % 2 for index in range(20)], names)
    assert chosen == [6, 8, 9, 19]


@pytest.mark.parametrize(
    'arguments, said',
    [
        (dict(), 'one of the two'),
        (dict(fraction=0.1, per_class=3), 'one of the two'),
        (dict(fraction=0.0), 'above 0 and at most 1'),
        (dict(fraction=10.0), 'above 0 and at most 1'),
        (dict(fraction=float('nan')), 'above 0 and at most 1'),
        (dict(per_class=0), 'whole number from 1'),
        (dict(per_class=1.5), 'whole number from 1'),
    ],
)
def test_nonsense_is_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        LabelBudget(**arguments)


def test_samples_without_label_are_refused():
    with pytest.raises(ValueError, match='b.mp4 has no label'):
        LabelBudget(0.5).choose([0, -1], ['a.mp4', 'b.mp4'])
    with pytest.raises(ValueError, match='as many'):
        LabelBudget(0.5).choose([0, 1], ['a.mp4'])


def test_the_report_counts_and_names_small_classes():
    labels = [0] * 10 + [1] * 3
    budget = LabelBudget(per_class=4)
    text = budget.report(labels, budget.choose(labels, names_of(labels)))
    assert '7 of 13 samples in 2 classes' in text
    assert '1 classes have fewer than 4, of which all are taken: 1' in text
    assert '0: 4 of 10, 1: 3 of 3' in text


# -- datasets ---------------------------------------------------------------


def write(path: Path, lines) -> str:
    path.write_text(''.join(line + '\n' for line in lines))
    return str(path)


def taken(dataset, key='filename'):
    return [dataset.get_data_info(i)[key] for i in range(len(dataset))]


def test_videos_and_frame_folders(tmp_path, caplog):
    lines = [f'{index}.mp4 {index % 4}' for index in range(80)]
    ann_file = write(tmp_path / 'videos.txt', lines)
    ten, one = (
        VideoListDataset(ann_file, FRAMES_ONLY, label_fraction=share) for share in (0.1, 0.01)
    )
    assert len(ten) == 8 and len(one) == 4
    assert set(taken(one)) < set(taken(ten))
    # Not the place of the videos decides, nor the order of the list.
    elsewhere = VideoListDataset(
        write(tmp_path / 'turned.txt', lines[::-1]),
        FRAMES_ONLY,
        label_fraction=0.1,
        data_prefix=dict(video='/elsewhere'),
    )
    assert {Path(name).name for name in taken(elsewhere)} == set(taken(ten))
    other = VideoListDataset(ann_file, FRAMES_ONLY, label_fraction=0.1, subset_seed=1)
    assert set(taken(other)) != set(taken(ten))

    frames = write(tmp_path / 'frames.txt', (f'{index} 20 {index % 4}' for index in range(80)))
    few = RawFrameListDataset(frames, FRAMES_ONLY, clips_per_class=3)
    assert len(taken(few, 'frame_dir')) == 12


def test_datasets_say_what_they_took(tmp_path, capsys):
    from mmengine.logging import MMLogger

    MMLogger.get_instance('subset', logger_name='subset')
    ann_file = write(tmp_path / 'list.txt', ['a.mp4 0', 'b.mp4 0', 'c.mp4 1'])
    VideoListDataset(ann_file, FRAMES_ONLY, clips_per_class=1)
    said = ''.join(capsys.readouterr())
    assert f'{ann_file}: label budget (1 per class, seed 0)' in said
    assert '0: 1 of 2, 1: 1 of 1' in said


@pytest.mark.parametrize('dataset', [VideoListDataset, RawFrameListDataset])
def test_datasets_refuse_nonsense(tmp_path, dataset):
    bare = write(tmp_path / 'bare.txt', ['a 20', 'b 20'])
    if dataset is VideoListDataset:
        bare = write(tmp_path / 'bare.txt', ['a.mp4', 'b.mp4'])
    with pytest.raises(ListFileError, match='bare.txt.* has no label'):
        dataset(bare, FRAMES_ONLY, label_fraction=0.5)
    with pytest.raises(ValueError, match='label_fraction=2.* at most 1'):
        dataset(bare, FRAMES_ONLY, label_fraction=2.0)
    with pytest.raises(ValueError, match='clips_per_class=0'):
        dataset(bare, FRAMES_ONLY, clips_per_class=0)
    with pytest.raises(ValueError, match='both given'):
        dataset(bare, FRAMES_ONLY, label_fraction=0.5, clips_per_class=2)
    with pytest.raises(ValueError, match='multi_class=True'):
        dataset(bare, FRAMES_ONLY, label_fraction=0.5, multi_class=True, num_classes=3)
