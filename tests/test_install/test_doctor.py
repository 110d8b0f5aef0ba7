"""The doctor lists what works, whatever is missing."""

import json
import subprocess
import sys

import pytest
from amd_mm import doctor
from mmengine.config import Config

from .conftest import REPOSITORY, RunPython

DATASETS = REPOSITORY / 'configs' / '_base_' / 'datasets'


def checks_of(result: subprocess.CompletedProcess) -> dict[str, dict]:
    return {check['name']: check for check in json.loads(result.stdout)['checks']}


def test_without_detection_and_pyav(python_without: RunPython) -> None:
    result = python_without('mmdet', 'mmcv._ext', 'av')('-m', 'amd_mm.doctor', '--json')
    assert result.returncode == 0, result.stdout
    assert json.loads(result.stdout)['works']
    found = checks_of(result)
    for name in ('pre-training', 'reading videos', 'recognition', 'images'):
        assert found[name]['works'], found[name]
    assert 'decoders: decord' in found['reading videos']['detail']
    assert not found['detection']['works'] and 'mmdet' in found['detection']['detail']
    assert 'tools/install.sh' in found['detection']['fix']


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
    key, _, backend = doctor.check_videos().split('--cfg-options ')[1].partition('=')
    for name in ('k400', 'sthv2', 'folder'):
        cfg = Config.fromfile(DATASETS / f'{name}.py')
        cfg.merge_from_dict({key: backend})
        opener = cfg.train_dataloader.dataset.pipeline[0]
        assert (opener.type, opener.backend) == ('amd_mm.VideoInit', 'decord')


def check_that_raises() -> str:
    raise ZeroDivisionError('of its own')


def test_a_failing_check_is_a_result(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    checks = [('optional', False, check_that_raises, 'fix'), ('core', True, lambda: 'fine', '')]
    monkeypatch.setattr(doctor, 'CHECKS', checks)
    assert doctor.main([]) == 0
    assert 'no: ZeroDivisionError: of its own' in capsys.readouterr().out
    checks[1] = ('core', True, check_that_raises, 'fix')
    assert doctor.main([]) == 1
    assert 'DOES NOT WORK' in capsys.readouterr().out
