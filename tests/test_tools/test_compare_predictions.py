"""Two files of predictions in, a table and a picture out."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.evaluator import DumpResults

from .tool_scripts import load_tool

CLASSES = 8


def dump(path, accuracy, seed, count=200):
    """Predictions of the same videos, right as often as told."""
    random = np.random.default_rng(seed)
    metric = DumpResults(str(path))
    samples = []
    for index in range(count):
        label = index % CLASSES
        right = random.random() < accuracy[label]
        best = label if right else (label + 1) % CLASSES
        score = torch.full((CLASSES,), 0.1)
        score[best] = 0.8
        samples.append(dict(pred_score=score, gt_label=torch.tensor([label])))
    metric.process(None, samples)
    metric.evaluate(count)
    return str(path)


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path('names.txt').write_text(''.join(f'doing {one}\n' for one in 'abcdefgh'))
    accuracy = np.full(CLASSES, 0.5)
    better = accuracy + [0.5, 0.3, 0, 0, 0, 0, -0.3, -0.5]
    return dump('amd.pkl', better, 0), dump('mae.pkl', accuracy, 1)


def test_table_and_picture(files, capsys):
    tool = load_tool('compare_predictions')
    options = '--names AMD VideoMAE --labels names.txt --top 2 --out out'
    assert tool.main([*files, *options.split()]) == 0
    with open('out/class_differences.csv') as file:
        rows = list(csv.DictReader(file))
    assert rows[0]['name'] == 'doing a' and rows[-1]['name'] == 'doing h'
    mean = {
        name: np.mean([float(row[f'{name}_percent']) for row in rows])
        for name in ('AMD', 'VideoMAE')
    }
    text = capsys.readouterr().out
    assert (
        f'top-1 of 200 videos: AMD {mean["AMD"]:.2f} %, VideoMAE {mean["VideoMAE"]:.2f} %, '
        f'difference {mean["AMD"] - mean["VideoMAE"]:+.2f} points'
    ) in text
    gains, losses = text.split('largest gains of AMD')[1].split('largest losses of AMD')
    assert 'doing a' in gains and 'doing h' not in gains
    assert 'doing h' in losses and 'doing a' not in losses
    assert sum('doing' in line for line in text.splitlines()) == 4
    assert cv2.imread('out/class_differences.png').std() > 5
    # Against itself, with the defaults.
    assert tool.main([files[0], files[0]]) == 0
    text = capsys.readouterr().out
    assert 'difference +0.00 points' in text and 'largest' not in text
    assert f'{CLASSES} are equal' in text
    assert Path('work_dirs/comparison/class_differences.png').is_file()


def test_mistakes_are_named(files, capsys):
    tool = load_tool('compare_predictions')
    shorter = dump('short.pkl', np.full(CLASSES, 0.5), 0, count=10)
    Path('two.txt').write_text('a\nb\n')
    for arguments, message in (
        ([files[0], 'none.pkl'], 'none.pkl cannot be read'),
        ([files[0], shorter], '200 videos and short.pkl has 10'),
        ([files[0], 'names.txt'], 'names.txt is not a file of predictions'),
        ([*files, '--labels', 'two.txt'], 'two.txt has 2 names'),
    ):
        assert tool.main([*arguments, '--out', 'none']) == 2
        assert message in capsys.readouterr().err
    assert not Path('none').exists()
    with pytest.raises(SystemExit):
        tool.main([*files, '--top', '0'])
    assert '--top' in capsys.readouterr().err
