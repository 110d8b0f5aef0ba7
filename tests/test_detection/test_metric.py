"""AVA's mean average precision: numbers, files and processes."""

import multiprocessing
import os
from pathlib import Path

import amd_mm.evaluation  # noqa: F401, imported while np.NAN is there
import numpy as np
import pytest
import torch
from amd_mm.errors import VideoError
from amd_mm.registry import METRICS
from mmaction.evaluation.metrics import AVAMetric
from mmengine.logging import MMLogger

LABELS = {1: 'stand', 2: 'bend/bow (at the waist)', 20: 'hold', 70: 'talk to'}
CLASSES = 72
FRAMES = [(video, time) for video in 'abc' for time in range(902, 907)]


def boxes_of(video, time):
    rng = np.random.default_rng([ord(video), time])
    corner = rng.uniform(0, 0.4, (3, 2))
    return np.concatenate([corner, corner + rng.uniform(0.2, 0.6, (3, 2))], 1)


@pytest.fixture
def files(tmp_path):
    """Annotations of 15 frames with three people each, and a label map."""
    rng = np.random.default_rng(0)
    lines = []
    for video, time in FRAMES:
        for person, box in enumerate(boxes_of(video, time)):
            corners = ','.join(f'{value:.3f}' for value in box)
            for label in rng.choice(list(LABELS), 2, replace=False):
                lines.append(f'{video},{time:04d},{corners},{label},{person}\n')
    items = [f'item {{\n  name: "{name}"\n  id: {label}\n}}\n' for label, name in LABELS.items()]
    folder = tmp_path / 'files'
    folder.mkdir()
    (folder / 'ann.csv').write_text(''.join(lines))
    (folder / 'labels.pbtxt').write_text(''.join(items))
    return dict(ann_file=str(folder / 'ann.csv'), label_file=str(folder / 'labels.pbtxt'))


def predictions(silent=()):
    """Scores for moved boxes; 0 for the labels in ``silent``."""
    rng = np.random.default_rng(1)
    samples = []
    zero = [label for label in range(CLASSES) if label not in LABELS or label in silent]
    for video, time in FRAMES:
        boxes = boxes_of(video, time) + rng.normal(0, 0.04, (3, 4))
        scores = rng.uniform(0.01, 1, (3, CLASSES))
        scores[:, zero] = 0
        instances = dict(bboxes=torch.tensor(boxes), scores=torch.tensor(scores))
        samples.append(dict(video_id=video, timestamp=time, pred_instances=instances))
    return samples


def measure(samples, **settings):
    settings = dict(dict(num_classes=CLASSES), **settings)
    metric = METRICS.build(dict(type='amd_mm.PerClassAVAMetric', **settings))
    metric.process(None, samples)
    return metric.evaluate(len(samples))


class InThisProcess:
    """Stands in for MMAction2's pool of 32 processes."""

    def __init__(self, count):
        pass

    def map(self, function, items):
        return list(map(function, items))


def test_agrees_with_mmaction_and_leaves_nothing(files, tmp_path, monkeypatch):
    """Without processes and files in the working directory; also with NumPy 2, without np.NAN."""
    monkeypatch.setattr(multiprocessing, 'Pool', InThisProcess)
    monkeypatch.setattr(np, 'NAN', np.nan, raising=False)
    (tmp_path / 'cwd').mkdir()
    monkeypatch.chdir(tmp_path / 'cwd')
    theirs = AVAMetric(files['ann_file'], None, files['label_file'], num_classes=CLASSES)
    theirs.process(None, predictions())
    expected = theirs.evaluate(15)
    monkeypatch.setattr(multiprocessing, 'Pool', None)
    monkeypatch.delattr(np, 'NAN')
    found = measure(predictions(), **files)
    assert found == pytest.approx(expected)
    assert 0.05 < found['mAP/overall'] < 0.95
    assert os.listdir() == []


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
    silent = measure(predictions(silent=[20]), classwise=True, **files)
    assert silent['mAP/20_hold'] == 0
    assert silent['mAP/overall'] == pytest.approx(found['mAP/overall'] - aps[20] / 4)


def test_extremes(files):
    perfect, empty = predictions(), predictions()
    lines = [line.split(',') for line in Path(files['ann_file']).read_text().splitlines()]
    for sample, other in zip(perfect, empty):
        frame = sample['video_id'], sample['timestamp']
        scores = torch.full((3, CLASSES), 0.01)
        for video, time, *_, label, person in lines:
            if (video, int(time)) == frame:
                scores[int(person), int(label)] = 0.9
        sample['pred_instances'] = dict(bboxes=torch.tensor(boxes_of(*frame)), scores=scores)
        other['pred_instances'] = dict(bboxes=torch.zeros(0, 4), scores=torch.zeros(0, CLASSES))
    assert measure(perfect, **files)['mAP/overall'] == pytest.approx(1)
    assert measure(empty, **files)['mAP/overall'] == 0


def test_labels_without_annotations_do_not_count(files):
    expected = measure(predictions(), classwise=True, **files)
    with open(files['label_file'], 'a') as file:
        file.write('item {\n  name: "swim"\n  id: 71\n}\n')
    samples = predictions()
    for sample in samples:
        sample['pred_instances']['scores'][:, 71] = 0.5
    assert measure(samples, classwise=True, **files) == expected


def test_excluded_frames_do_not_count(files, tmp_path):
    """The same as without them in the annotations and the predictions."""
    path = tmp_path / 'excluded.csv'
    path.write_text('a,0902\nc,906\n')
    found = measure(predictions(), exclude_file=str(path), **files)
    assert found != measure(predictions(), **files)
    ann_file = Path(files['ann_file'])
    lines = ann_file.read_text().splitlines(True)
    ann_file.write_text(''.join(li for li in lines if not li.startswith(('a,0902', 'c,0906'))))
    kept = [
        sample
        for sample in predictions()
        if (sample['video_id'], sample['timestamp']) not in (('a', 902), ('c', 906))
    ]
    assert found == measure(kept, **files)
    path.write_text(''.join(f'{video},{time}\n' for video, time in FRAMES))
    with pytest.raises(VideoError, match='all frames'):
        measure(predictions(), exclude_file=str(path), **files)


def test_custom_classes(files):
    samples = predictions()
    for sample in samples:
        sample['pred_instances']['scores'] = sample['pred_instances']['scores'][:, [0, 2, 70]]
    settings = dict(files, num_classes=3, classwise=True)
    found = measure(samples, custom_classes=[2, 70], **settings)
    every = measure(predictions(), classwise=True, **files)
    for name in (f'mAP/{label}_{LABELS[label]}' for label in (2, 70)):
        assert found[name] == every[name]
    with pytest.raises(VideoError, match='custom_classes 3 '):
        measure([], custom_classes=[2, 3], **settings)


def test_files_that_do_not_match(files):
    samples = predictions()
    samples[0]['video_id'] = 'somewhere'
    with pytest.raises(VideoError, match="'somewhere,0902'.*'a,0902'"):
        measure(samples, **files)
    path = Path(files['label_file'])
    path.write_text(path.read_text().replace('id: ', 'id: 5'))
    with pytest.raises(VideoError, match='no line of .* has a label'):
        measure([], num_classes=1000, **files)
