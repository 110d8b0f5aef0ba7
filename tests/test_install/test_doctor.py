"""The doctor lists what works, whatever is missing."""

import json
import sys

import pytest
from amd_mm import doctor
from mmengine.config import Config

from .conftest import REPOSITORY, RunPython

DATASETS = REPOSITORY / 'configs' / '_base_' / 'datasets'


def test_without_detection_and_pyav(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    for name in ('mmdet.models', 'av', 'decord', 'torchcodec'):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, 'decord', json)  # any module
    assert doctor.main(['--json']) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer['works'] and answer['versions']['mmengine']
    found = {check['name']: check for check in answer['checks']}
    for name in ('pre-training', 'reading videos', 'recognition', 'images'):
        assert found[name]['works'], found[name]
    assert 'decoders: decord' in found['reading videos']['detail']
    assert not found['detection']['works'] and 'mmdet' in found['detection']['detail']
    assert 'tools/install.sh' in found['detection']['fix']


def test_detection_names_the_operators_in_use() -> None:
    pytest.importorskip('mmdet')
    assert ('compiled' in doctor.check_detection()) == ('--compile' not in doctor.check_detection())


def test_without_pytorch(python_without: RunPython) -> None:
    result = python_without('torch', 'torchgen', 'functorch')('-m', 'amd_mm.doctor')
    assert result.returncode == 1
    assert not result.stderr
    lines = result.stdout.splitlines()
    broken = next(index for index, line in enumerate(lines) if line.startswith('pre-training'))
    assert "DOES NOT WORK: ModuleNotFoundError: No module named 'torch" in lines[broken]
    assert 'tools/install.sh' in lines[broken + 1]


def test_the_option_for_another_decoder_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'av', None)
    monkeypatch.setitem(sys.modules, 'decord', json)
    key, _, backend = doctor.check_videos().split('--cfg-options ')[1].partition('=')
    for name in ('k400', 'sthv2', 'folder'):
        cfg = Config.fromfile(DATASETS / f'{name}.py')
        cfg.merge_from_dict({key: backend})
        opener = cfg.train_dataloader.dataset.pipeline[0]
        assert (opener.type, opener.backend) == ('amd_mm.VideoInit', 'decord')


def test_a_missing_core_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    checks = [('optional', False, lambda: 1 / 0, 'fix'), ('core', True, lambda: 'fine', '')]
    monkeypatch.setattr(doctor, 'CHECKS', checks)
    assert doctor.main([]) == 0
    assert 'no: ZeroDivisionError' in capsys.readouterr().out
    checks[1] = ('core', True, lambda: 1 / 0, 'fix')
    assert doctor.main([]) == 1
    assert 'DOES NOT WORK' in capsys.readouterr().out
