"""The doctor tells what works, whatever is missing."""

import json
import sys

import pytest
from amd_mm import doctor
from mmengine.config import Config

from .conftest import REPOSITORY, RunPython

DATASETS = REPOSITORY / 'configs' / '_base_' / 'datasets'


def findings(result: object) -> dict:
    report = json.loads(result.stdout)
    return {check['name']: check for check in report['checks']}


def test_complete_installation(python_without: RunPython) -> None:
    result = python_without()('-m', 'amd_mm.doctor', '--json')
    assert result.returncode == 0, result.stdout
    assert json.loads(result.stdout)['works']
    for name in ('pre-training', 'reading videos', 'recognition', 'image'):
        assert findings(result)[name]['works'], findings(result)[name]


def test_without_detection_and_decoders(python_without: RunPython) -> None:
    run_python = python_without('mmdet', 'mmcv._ext', 'decord', 'av')
    result = run_python('-m', 'amd_mm.doctor', '--json')
    assert result.returncode == 0, result.stdout
    found = findings(result)
    for name in ('pre-training', 'recognition', 'image'):
        assert found[name]['works'], found[name]
    assert found['reading videos']['detail'] == 'decoders: opencv'
    detection, pyav = found['detection'], found['PyAV']
    assert not detection['works'] and 'mmcv._ext' in detection['why']
    assert 'tools/install.sh' in detection['fix']
    assert pyav['why'] == 'the module av is not installed'
    assert 'pip install av' in pyav['fix']


def test_option_in_place_of_pyav(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the doctor says of a missing PyAV is true of the configs."""
    monkeypatch.setitem(sys.modules, 'av', None)
    with pytest.raises(doctor.Problem) as problem:
        doctor.check_pyav()
    key, _, backend = problem.value.fix.split()[-1].partition('=')
    for name in ('k400', 'sthv2', 'folder'):
        cfg = Config.fromfile(DATASETS / f'{name}.py')
        opener = cfg.train_dataloader.dataset.pipeline[0]
        assert opener.backend == 'pyav'
        cfg.merge_from_dict({key: backend})
        opener = cfg.train_dataloader.dataset.pipeline[0]
        assert opener.type == 'amd_mm.VideoInit'
        assert opener.backend == 'decord'


@pytest.mark.parametrize(
    'missing',
    [
        ('torch', 'torchgen', 'functorch'),
        ('mmengine',),
        ('mmaction', 'mmaction2', 'mmpretrain', 'mmdet', 'mim'),
    ],
)
def test_half_of_the_packages_missing(python_without: RunPython, missing: tuple) -> None:
    result = python_without(*missing)('-m', 'amd_mm.doctor')
    assert result.returncode == 1
    assert not result.stderr
    lines = result.stdout.splitlines()
    broken = next(index for index, line in enumerate(lines) if line.startswith('pre-training'))
    assert f'DOES NOT WORK: the module {missing[0]}' in lines[broken]
    assert 'tools/install.sh' in lines[broken + 1]


def check_that_raises() -> str:
    raise ZeroDivisionError('of its own')


def test_failure_of_a_check_is_a_finding(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    checks: list[tuple] = [('optional', False, check_that_raises), ('core', True, lambda: 'fine')]
    monkeypatch.setattr(doctor, 'CHECKS', checks)
    assert doctor.main([]) == 0
    printed = capsys.readouterr().out
    assert 'optional        no: optional: ZeroDivisionError: of its' in printed
    checks[1] = ('core', True, check_that_raises)
    assert doctor.main([]) == 1
    assert 'DOES NOT WORK' in capsys.readouterr().out


def test_missing_system_library_is_named() -> None:
    error = ImportError('libGL.so.1: cannot open shared object file')
    assert 'libgl1' in doctor._fix_for(error, 'nothing')
