"""AVA's mean average precision: the figures, and what is left behind."""

import multiprocessing
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from amd_mm.errors import VideoError
from amd_mm.registry import METRICS
from mmaction.evaluation.metrics import AVAMetric
from mmengine.logging import MMLogger

LABELS = {1: 'stand', 2: 'bend/bow (at the waist)', 20: 'hold', 70: 'talk to'}
CLASSES = 72


@pytest.fixture
def files(tmp_path):
    """Annotations of 15 frames with three people each, and a label map."""
    rng = np.random.default_rng(0)
    lines = []
    for video in 'abc':
        for time in range(902, 907):
            for person, box in enumerate(_boxes(video, time)):
                corners = ','.join(f'{value:.3f}' for value in box)
                for label in rng.choice(list(LABELS), 2, replace=False):
                    lines.append(f'{video},{time:04d},{corners},{label},{person}')
    folder = tmp_path / 'files'
    folder.mkdir()
    ann_file, label_file = folder / 'ann.csv', folder / 'labels.pbtxt'
    ann_file.write_text('\n'.join(lines) + '\n')
    label_file.write_text(
        ''.join(f'item {{\n  name: "{name}"\n  id: {label}\n}}\n' for label, name in LABELS.items())
    )
    return dict(ann_file=str(ann_file), label_file=str(label_file))


def _boxes(video, time):
    rng = np.random.default_rng([ord(video), time])
    corner = rng.uniform(0, 0.4, (3, 2))
    return np.concatenate([corner, corner + rng.uniform(0.2, 0.6, (3, 2))], 1)


def predictions(silent=()):
    """Scores for moved boxes; none for the labels in ``silent``."""
    rng = np.random.default_rng(1)
    samples = []
    for video in 'abc':
        for time in range(902, 907):
            boxes = _boxes(video, time) + rng.normal(0, 0.04, (3, 4))
            scores = rng.uniform(0.01, 1, (3, CLASSES))
            scores[
                :, [label for label in range(CLASSES) if label not in LABELS or label in silent]
            ] = 0
            samples.append(
                dict(
                    video_id=video,
                    timestamp=time,
                    pred_instances=dict(bboxes=torch.tensor(boxes), scores=torch.tensor(scores)),
                )
            )
    return samples


def measure(samples, **settings):
    metric = METRICS.build(dict(type='amd_mm.PerClassAVAMetric', num_classes=CLASSES, **settings))
    metric.process(None, samples)
    return metric.evaluate(len(samples))


@pytest.fixture
def no_processes(monkeypatch):
    """Starting a process is an error."""

    def refuse(*args, **kwargs):
        raise AssertionError('a process is started')

    monkeypatch.setattr(multiprocessing, 'Pool', refuse)


class InThisProcess:
    """Stands in for MMAction2's pool of 32, which takes seconds."""

    def __init__(self, count):
        pass

    def map(self, function, items):
        return list(map(function, items))


def test_agrees_with_mmaction(files, tmp_path, monkeypatch):
    monkeypatch.setattr(multiprocessing, 'Pool', InThisProcess)
    monkeypatch.setattr(np, 'NAN', np.nan, raising=False)
    monkeypatch.chdir(tmp_path)
    theirs = AVAMetric(files['ann_file'], None, files['label_file'], num_classes=CLASSES)
    theirs.process(None, predictions())
    expected = theirs.evaluate(15)
    found = measure(predictions(), **files)
    assert found == pytest.approx(expected)
    assert 0.05 < found['mAP/overall'] < 0.95


def test_ap_of_each_action(files, tmp_path):
    log = tmp_path / 'run.log'
    MMLogger.get_instance('classwise', log_file=str(log))
    found = measure(predictions(), classwise=True, **files)
    aps = {label: found[f'mAP/{label}_{name}'] for label, name in LABELS.items()}
    assert found['mAP/overall'] == pytest.approx(np.mean(list(aps.values())))
    assert found['mAP/person_movement'] == pytest.approx((aps[1] + aps[2]) / 2)
    assert found['mAP/object_manipulation'] == aps[20]
    assert found['mAP/person_interaction'] == aps[70]
    assert '20  hold                     ' in log.read_text()
    assert f'{aps[20]:.4f}' in log.read_text()


def test_perfect_boxes(files):
    samples = predictions()
    lines = [line.split(',') for line in Path(files['ann_file']).read_text().splitlines()]
    for sample in samples:
        boxes = _boxes(sample['video_id'], sample['timestamp'])
        sample['pred_instances']['bboxes'] = torch.tensor(boxes)
        scores = torch.full((3, CLASSES), 0.01)
        for video, time, *_, label, person in lines:
            if (video, int(time)) == (sample['video_id'], sample['timestamp']):
                scores[int(person), int(label)] = 0.9
        sample['pred_instances']['scores'] = scores
    assert measure(samples, **files)['mAP/overall'] == pytest.approx(1)


def test_nothing_is_left_or_shared(files, tmp_path, monkeypatch, no_processes):
    """Neither files in the working directory nor processes."""
    folder = tmp_path / 'cwd'
    folder.mkdir()
    monkeypatch.chdir(folder)
    written = []
    original = vars(sys.modules['amd_mm.evaluation.ava'])
    results2csv = original['results2csv']

    def spy(results, path, classes):
        written.append(path)
        results2csv(results, path, classes)

    monkeypatch.setitem(original, 'results2csv', spy)
    first = measure(predictions(), **files)
    assert measure(predictions(), **files) == first
    assert len(set(written)) == 2  # in the same second
    assert not any(os.path.exists(path) for path in written)
    assert os.listdir(folder) == []


def test_works_without_np_nan(files, monkeypatch):
    """As with numpy 2; a label without annotations is not counted."""
    if hasattr(np, 'NAN'):
        monkeypatch.delattr(np, 'NAN')
    expected = measure(predictions(), classwise=True, **files)
    text = Path(files['label_file']).read_text()
    Path(files['label_file']).write_text(text + 'item {\n  name: "swim"\n  id: 71\n}\n')
    samples = predictions()
    for sample in samples:
        sample['pred_instances']['scores'][:, 71] = 0.5
    assert measure(samples, classwise=True, **files) == expected


def test_action_that_is_never_detected_counts_as_zero(files):
    every = measure(predictions(), classwise=True, **files)
    found = measure(predictions(silent=[20]), classwise=True, **files)
    assert found['mAP/20_hold'] == 0
    assert found['mAP/overall'] == pytest.approx(every['mAP/overall'] - every['mAP/20_hold'] / 4)


def test_no_boxes_at_all(files):
    samples = predictions()
    for sample in samples:
        sample['pred_instances'] = dict(bboxes=torch.zeros(0, 4), scores=torch.zeros(0, CLASSES))
    assert measure(samples, **files)['mAP/overall'] == 0


def test_excluded_frames_do_not_count(files, tmp_path):
    """The same as without them in the annotations and the predictions."""
    path = tmp_path / 'excluded.csv'
    path.write_text('a,0902\nc,906\n')
    found = measure(predictions(), exclude_file=str(path), **files)
    assert found != measure(predictions(), **files)
    ann_file = Path(files['ann_file'])
    ann_file.write_text(
        ''.join(
            line
            for line in ann_file.read_text().splitlines(True)
            if not line.startswith(('a,0902', 'c,0906'))
        )
    )
    kept = [
        sample
        for sample in predictions()
        if (sample['video_id'], sample['timestamp']) not in (('a', 902), ('c', 906))
    ]
    assert found == measure(kept, **files)
    path.write_text(''.join(f'{video},{time}\n' for video in 'abc' for time in range(902, 907)))
    with pytest.raises(VideoError, match='all frames'):
        measure(predictions(), exclude_file=str(path), **files)


def test_custom_classes(files):
    samples = predictions()
    for sample in samples:
        scores = sample['pred_instances']['scores']
        sample['pred_instances']['scores'] = scores[:, [0, 2, 70]]
    metric = dict(files, custom_classes=[2, 70], classwise=True)
    built = METRICS.build(dict(type='amd_mm.PerClassAVAMetric', num_classes=3, **metric))
    built.process(None, samples)
    found = built.evaluate(15)
    every = measure(predictions(), classwise=True, **files)
    for name in (f'mAP/{label}_{LABELS[label]}' for label in (2, 70)):
        assert found[name] == every[name]
    with pytest.raises(VideoError, match='custom_classes 3 '):
        measure([], **dict(metric, custom_classes=[2, 3]))


def test_other_annotations_than_the_data_set(files):
    samples = predictions()
    samples[0]['video_id'] = 'somewhere'
    with pytest.raises(VideoError, match="'somewhere,0902'.*'a,0902'"):
        measure(samples, **files)


def test_no_common_label(files):
    path = Path(files['label_file'])
    path.write_text(path.read_text().replace('id: ', 'id: 5'))
    with pytest.raises(VideoError, match='no line of .* has a label'):
        measure([], **files)
