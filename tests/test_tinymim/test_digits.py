"""The image quickstart's own parts; its runs are tools/train.py's."""

import gzip
import sys

import cv2
import numpy as np
import pytest

from tests.test_configs.shrink import REPOSITORY


@pytest.fixture
def tools(monkeypatch):
    """The modules digit_images and digits."""
    monkeypatch.syspath_prepend(str(REPOSITORY / 'tools' / 'quickstart'))
    import digit_images
    import digits

    yield digit_images, digits
    for name in ('digit_images', 'digits'):
        sys.modules.pop(name, None)


def test_images_are_the_package_s(tools, tmp_path, monkeypatch):
    digit_images, _ = tools
    monkeypatch.setattr(digit_images, 'TEST', 8)
    rng = np.random.RandomState(0)
    table = np.hstack([rng.randint(0, 17, (20, 64)), np.arange(20)[:, None]])
    table[:, -1] %= 10
    source = tmp_path / 'digits.csv.gz'
    with gzip.open(source, 'wt') as file:
        np.savetxt(file, table, delimiter=',')
    monkeypatch.setattr(digit_images, 'find_digits', lambda: source)
    digit_images.main([str(tmp_path / 'images')])
    found = sorted((tmp_path / 'images').glob('*/*/*.png'))
    assert len(found) == 20
    assert sum(path.parts[-3] == 'val' for path in found) == 8
    for path in found:
        row = table[int(path.stem)]
        assert int(path.parent.name) == row[-1]
        picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        assert picture.shape == (16, 16)
        small = cv2.resize(picture, (8, 8), interpolation=cv2.INTER_AREA)
        truth = row[:-1].reshape(8, 8) * (255 / 16)
        assert np.corrcoef(small.ravel(), truth.ravel())[0, 1] > 0.9


def test_without_the_package_it_says_how_to_get_it(tools, monkeypatch):
    digit_images, _ = tools
    monkeypatch.setattr(digit_images.importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(SystemExit, match='pip install --no-deps scikit-learn'):
        digit_images.main(['anywhere'])


def test_both_starts_get_the_same_but_for_the_weights(tools, tmp_path):
    _, digits = tools
    tasks = digits.plan(tmp_path, [3, 4])
    for alone, tuned in zip(tasks['scratch'], tasks['tinymim']):
        mine, theirs = (
            [part for part in task.command if 'work-dir' not in part and task.name not in part]
            for task in (alone, tuned)
        )
        (extra,) = set(theirs) - set(mine)
        assert extra.startswith('model.backbone.pretrained=')
        assert not set(mine) - set(theirs)
    # What is finished stays finished: the inputs' order is settled.
    inputs = [task.inputs for task in tasks['scratch']]
    assert inputs[0] == inputs[1] and len(inputs[0]) == len(set(inputs[0]))
    assert [path.name for path in inputs[0]][:2] == [
        'quickstart_image_finetune.py',
        'image_finetune_vit-tiny.py',
    ]
    seeds = [{part for part in task.command if 'subset_seed' in part} for task in tasks['scratch']]
    assert seeds[0] != seeds[1]


def test_table(tools):
    _, digits = tools
    text = digits.table(dict(scratch=[60.0, 70.0], tinymim=[80.0, 81.0]), [0, 5])
    lines = text.splitlines()
    assert lines[0].split('|')[3].strip() == 'seed 5'
    assert [cell.strip() for cell in lines[2].split('|')[2:-1]] == ['60.0', '70.0', '65.0']
    assert '80.5' in lines[3]
