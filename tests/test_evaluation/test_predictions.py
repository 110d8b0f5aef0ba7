"""Files of predictions are read, checked against each other and compared."""

import csv
import os
import pickle

import numpy as np
import pytest
import torch
from amd_mm.errors import CheckpointError
from amd_mm.evaluation.predictions import compare_predictions, read_predictions, write_comparison
from mmengine.evaluator import DumpResults


def samples_of(labels, predicted, classes=4, names=None):
    """As a recogniser gives them to the metrics."""
    samples = []
    for at, (label, best) in enumerate(zip(labels, predicted)):
        score = torch.full((classes,), 0.1)
        score[best] = 0.9
        samples.append(
            dict(
                pred_score=score,
                pred_label=torch.tensor([best]),
                gt_label=torch.tensor([label]),
                img_shape=(8, 8),
            )
        )
        if names is not None:
            samples[-1]['filename'] = names[at]
    return samples


def dump(path, samples):
    """With MMEngine's own metric, as --dump does."""
    metric = DumpResults(str(path))
    metric.process(None, samples)
    metric.evaluate(len(samples))
    return path


def test_reads_what_the_metric_of_mmengine_wrote(tmp_path):
    path = dump(
        tmp_path / 'a.pkl', samples_of([0, 1, 3], [0, 2, 3], names=['x/a b.mp4', 'b.avi', 'c'])
    )
    read = read_predictions(path)
    assert read.labels.tolist() == [0, 1, 3]
    assert read.predicted.tolist() == [0, 2, 3]
    assert read.correct.tolist() == [True, False, True]
    assert read.num_classes == 4
    assert read.videos == ('a b', 'b', 'c')


def test_reads_arrays_and_half_precision(tmp_path):
    samples = samples_of([1, 2], [1, 0])
    samples[0]['pred_score'] = samples[0]['pred_score'].bfloat16()
    samples[1]['pred_score'] = samples[1]['pred_score'].numpy()
    samples[1]['gt_label'] = np.array([2])
    read = read_predictions(dump(tmp_path / 'a.pkl', samples))
    assert (read.predicted.tolist(), read.labels.tolist()) == ([1, 0], [1, 2])
    assert read.videos == ()


class RunsSomething:
    def __reduce__(self):
        return os.mkdir, (self.folder,)


def test_nothing_in_a_file_is_run(tmp_path):
    trap = RunsSomething()
    trap.folder = str(tmp_path / 'made')
    path = tmp_path / 'trap.pkl'
    path.write_bytes(pickle.dumps([dict(pred_score=trap)]))
    with pytest.raises(CheckpointError, match=r'mkdir'):
        read_predictions(path)
    assert not (tmp_path / 'made').exists()


@pytest.mark.parametrize(
    'content, message',
    [
        ([], 'a list of predictions'),
        (dict(), 'a list of predictions'),
        ([dict(pred_instances=1)], 'entry 0 has no pred_score'),
        (samples_of([7], [0]), 'label 7, but there are 4 classes'),
        (samples_of([-1], [0]), 'the list has no labels'),
        ([dict(pred_score=torch.ones(3))], 'entry 0 has 0 labels'),
        ([dict(pred_score=torch.ones(2, 3))], 'average_clips'),
        (
            samples_of([0], [0]) + samples_of([0], [0], classes=5),
            'some videos have 4 scores, others 5',
        ),
    ],
)
def test_says_what_is_wrong_with_a_file(tmp_path, content, message):
    path = tmp_path / 'bad.pkl'
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(CheckpointError, match=message) as error:
        read_predictions(path)
    assert str(path) in str(error.value)


def test_damaged_and_missing_files(tmp_path):
    path = dump(tmp_path / 'a.pkl', samples_of([0, 1], [0, 1]))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(CheckpointError, match='damaged'):
        read_predictions(path)
    with pytest.raises(CheckpointError, match='none.pkl cannot be read'):
        read_predictions(tmp_path / 'none.pkl')


@pytest.fixture
def pair(tmp_path):
    """Class 0: 2/2 against 1/2; 1: 0/1 and 1/1; 2: the same; 3: no video."""
    labels = [0, 1, 2, 0, 2]
    first = dump(tmp_path / 'a.pkl', samples_of(labels, [0, 3, 2, 0, 1]))
    second = dump(tmp_path / 'b.pkl', samples_of(labels, [3, 1, 2, 0, 0]))
    return read_predictions(first), read_predictions(second)


def test_compares_class_by_class(pair):
    result = compare_predictions(*pair)
    found = [
        (one.label, one.videos, one.first, one.second, one.difference) for one in result.classes
    ]
    assert found == [(0, 2, 1.0, 0.5, 0.5), (2, 2, 0.5, 0.5, 0.0), (1, 1, 0.0, 1.0, -1.0)]
    assert (result.videos, result.num_classes) == (5, 4)
    assert (result.first, result.second) == (0.6, 0.6)
    assert (result.only_first, result.only_second) == (1, 1)
    back = compare_predictions(*reversed(pair))
    assert [one.difference for one in back.classes] == [1.0, 0.0, -0.5]


def test_largest_leaves_out_what_does_not_differ(pair):
    gains, losses = compare_predictions(*pair).largest(5)
    assert [one.label for one in gains] == [0]
    assert [one.label for one in losses] == [1]


@pytest.mark.parametrize(
    'other, message',
    [
        (samples_of([0, 1], [0, 1]), 'has 3 videos and .* has 2'),
        (samples_of([0, 1, 1], [0, 1, 1], classes=5), '4 classes and .* has 5'),
        (samples_of([0, 2, 1], [0, 1, 1]), '1 of 3 labels .* entry 1: 1 and 2'),
        (samples_of([0, 1, 1], [0, 1, 1], names='xzy'), 'entry 1 is video y in .* z'),
    ],
)
def test_refuses_other_videos(tmp_path, other, message):
    mine = samples_of([0, 1, 1], [0, 1, 1], names=['d/x.mp4', 'd/y.mp4', 'y.mp4'])
    files = [dump(tmp_path / 'mine.pkl', mine), dump(tmp_path / 'other.pkl', other)]
    with pytest.raises(CheckpointError, match=message) as error:
        compare_predictions(*map(read_predictions, files))
    assert 'mine.pkl' in str(error.value) and 'other.pkl' in str(error.value)


def test_writes_all_classes(tmp_path, pair):
    path = tmp_path / 'new' / 'x.csv'
    names = ['a', 'b, too', 'c', 'd']
    write_comparison(compare_predictions(*pair), names, ('AMD', 'VideoMAE'), path)
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [row['name'] for row in rows] == ['a', 'c', 'b, too']
    assert rows[0]['AMD_percent'] == '100.00'
    assert [row['difference_points'] for row in rows] == ['+50.00', '+0.00', '-100.00']
