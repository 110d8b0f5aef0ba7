"""The report counts what the metrics of MMAction2 count."""

import csv

import numpy as np
import pytest
import torch
from amd_mm.errors import ConfigError
from amd_mm.evaluation import ClassificationReport
from amd_mm.registry import METRICS
from mmaction.evaluation import AccMetric, top_k_accuracy
from mmengine.evaluator import Evaluator

CLASSES = 7
FILES = ('per_class.csv', 'per_class.png', 'confusion_matrix.csv', 'confusion_matrix.png')


def make_samples(count=60):
    """Scores that lean to the label."""
    random = np.random.default_rng(0)
    samples = []
    for _ in range(count):
        label = int(random.integers(CLASSES))
        score = random.random(CLASSES)
        score[label] += 0.4
        samples.append(dict(pred_score=torch.from_numpy(score), gt_label=torch.tensor([label])))
    return samples


def evaluate(metrics, samples):
    evaluator = Evaluator(metrics)
    for start in range(0, len(samples), 8):
        evaluator.process(samples[start : start + 8])
    return evaluator.evaluate(len(samples))


def read(path):
    with path.open() as file:
        return list(csv.reader(file))


def test_agrees_with_accuracy_of_mmaction(tmp_path):
    samples = make_samples()
    report = METRICS.build(dict(type='amd_mm.ClassificationReport', out_dir=str(tmp_path)))
    report.dataset_meta = dict(classes=tuple('abcdefg'))
    accuracy = AccMetric(metric_options=dict(top_k_accuracy=dict(topk=(1, 5))))
    found = evaluate([accuracy, report], samples)
    assert set(found) == {'acc/top1', 'acc/top5', 'acc/mean1'}

    head, *rows = read(tmp_path / 'per_class.csv')
    assert [row[1] for row in rows] == list('abcdefg')
    table = [dict(zip(head, row)) for row in rows]
    videos = np.array([int(row['videos']) for row in table])
    assert videos.sum() == len(samples)
    for column, name in (('top1_percent', 'acc/top1'), ('top5_percent', 'acc/top5')):
        share = np.array([float(row[column]) for row in table]) / 100
        assert (share * videos).sum() / 60 == pytest.approx(found[name], abs=1e-4)
        if column == 'top1_percent':
            assert share.mean() == pytest.approx(found['acc/mean1'], abs=1e-4)
    # A class that is known well and one that is not are told apart.
    scores = np.stack([sample['pred_score'] for sample in samples])
    labels = np.array([int(sample['gt_label']) for sample in samples])
    for row in table:
        mine = labels == int(row['class'])
        expected = top_k_accuracy(scores[mine], labels[mine], (1, 5))
        assert float(row['top1_percent']) == pytest.approx(100 * expected[0], abs=0.01)
        assert float(row['top5_percent']) == pytest.approx(100 * expected[1], abs=0.01)
    for name in FILES:
        assert (tmp_path / name).stat().st_size


def test_matrix_and_mistakes(tmp_path):
    (tmp_path / 'names.txt').write_text('a\nb, too\nc\n')
    pairs = [(0, 0), (0, 1), (0, 1), (0, 2), (1, 1)]  # true, predicted
    samples = [
        dict(pred_score=torch.eye(3)[best], gt_label=torch.tensor([label])) for label, best in pairs
    ]
    evaluate(
        [ClassificationReport(str(tmp_path / 'new'), str(tmp_path / 'names.txt'), top_k=2)], samples
    )
    assert read(tmp_path / 'new/confusion_matrix.csv') == [
        ['true / predicted', 'a', 'b, too', 'c'],
        ['a', '1', '2', '1'],
        ['b, too', '0', '1', '0'],
        ['c', '0', '0', '0'],
    ]
    head, *rows = read(tmp_path / 'new/per_class.csv')
    assert head[5] == 'top2_percent'
    assert rows[0][:5] == ['0', 'a', '4', '1', '25.00']
    assert rows[0][6:] == ['1', '100.00', 'b, too', '2']
    assert rows[1][6:] == ['3', '33.33', '', '']
    # Without videos there is no accuracy, and no division by zero.
    assert rows[2] == ['2', 'c', '0', '0', '', '', '1', '0.00', '', '']


def test_names_of_other_classes_are_not_used(tmp_path):
    report = ClassificationReport(str(tmp_path))
    report.dataset_meta = dict(classes=('of', 'others'))
    evaluate([report], make_samples())
    assert read(tmp_path / 'per_class.csv')[3][1] == '2'


@pytest.mark.parametrize(
    'sample, message',
    [
        (dict(gt_label=torch.tensor([0])), 'got none'),
        (dict(pred_score=torch.ones(2, 3)), 'average_clips'),
        (dict(pred_score=torch.ones(3)), 'one label'),
        (dict(pred_score=torch.ones(3), gt_label=torch.ones(3)), 'one label'),
        (dict(pred_score=torch.ones(3), gt_label=torch.tensor([3])), 'label 3, .* 3 classes'),
        (dict(pred_score=torch.ones(3), gt_label=torch.tensor([-1])), 'no labels'),
    ],
)
def test_refuses_at_once_what_it_cannot_count(tmp_path, sample, message):
    with pytest.raises(ValueError, match=message):
        ClassificationReport(str(tmp_path)).process(None, [sample])


def test_refuses_names_of_other_classes_before_the_test_is_over(tmp_path):
    names = tmp_path / 'names.txt'
    with pytest.raises(ConfigError, match='names.txt'):
        ClassificationReport(str(tmp_path), str(names))
    names.write_text('a\nb\n')
    report = ClassificationReport(str(tmp_path), str(names))
    with pytest.raises(ConfigError, match='2 names.* 7 classes'):
        report.process(None, make_samples(1))
