"""tools/install.sh from end to end, with a stub for the environment's Python.

Nothing is downloaded or compiled: ``stub_python.sh`` notes what pip is asked
to do. That the steps install what is needed shows where the tests are run.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import REPOSITORY, run, succeed

SCRIPT = REPOSITORY / 'tools' / 'install.sh'
STUB = Path(__file__).with_name('stub_python.sh')
IN_PLACE = 'Everything is in place'


class Machine:
    """A folder with a cache, some commands and stubbed environments."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cache = folder / 'cache'
        self.command('c++')
        self.command('nvidia-smi', 'exit 9')
        self.environment('env')

    def command(self, name: str, script: str = '') -> None:
        """Put a command where it is found before the machine's own."""
        path = self.folder / 'bin' / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'#!/usr/bin/env bash\n{script}\n')
        path.chmod(0o755)

    def environment(self, name: str, **files: str) -> Path:
        """Make an environment; the files say how its Python behaves."""
        folder = self.folder / name
        (folder / 'bin').mkdir(parents=True)
        shutil.copy(STUB, folder / 'bin' / 'python')
        (folder / 'bin' / 'python').chmod(0o755)
        for file, content in files.items():
            (folder / file).write_text(f'{content}\n')
        return folder

    def install(
        self, *options: str, env: str = 'env', active: str = ''
    ) -> subprocess.CompletedProcess:
        """Run the script in the repository, where amd_mm can be imported."""
        venv = [] if active else ['--venv', str(self.folder / env)]
        return run(
            ['bash', SCRIPT, *venv, *options],
            REPOSITORY,
            PATH=f'{self.folder / "bin"}{os.pathsep}{os.environ["PATH"]}',
            VIRTUAL_ENV=active,
            AMD_MM_CACHE=str(self.cache),
            REAL_PYTHON=sys.executable,
        )

    def calls(self, env: str = 'env') -> list[str]:
        """What pip was asked since this was asked last."""
        path = self.folder / env / 'calls'
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines

    def wheels(self) -> list[str]:
        """The folders of the cache's wheels."""
        return sorted(os.listdir(self.cache / 'wheels'))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def builds(calls: list[str]) -> int:
    return sum(call.startswith('wheel ') for call in calls)


def test_second_run_has_nothing_to_do(machine: Machine) -> None:
    output = succeed(machine.install())
    assert '[7/7]' in output and 'the doctor speaks' in output
    calls = ' '.join(machine.calls())
    for name in ('build', 'runtime', 'mim', 'tests', 'docs', 'detection'):
        assert f'requirements/{name}.txt' in calls
    assert 'mmcv==2.1.0 -w' in calls and f'-e {REPOSITORY}' in calls
    assert not list(machine.cache.glob('logs/*/*'))
    output = succeed(machine.install())
    assert IN_PLACE in output and 'the doctor speaks' in output
    assert succeed(machine.install('--again')) == ''
    assert machine.calls() == []


# One of each requirements file, one that another package pulls in, and mmcv
# in its other build.
@pytest.mark.parametrize('name', ['torch', 'openmim', 'mmcv', 'mmdet', 'onnx', 'pytest', 'addict'])
def test_missing_package_is_installed_by_a_second_run(machine: Machine, name: str) -> None:
    succeed(machine.install('--again'))
    machine.calls()
    (machine.folder / 'env' / 'missing').write_text(f'^{name}==\n')
    assert IN_PLACE not in succeed(machine.install())
    assert any('runtime.txt' in call for call in machine.calls())
    assert IN_PLACE in succeed(machine.install())


def test_amd_mm_of_the_current_folder_does_not_count(machine: Machine) -> None:
    succeed(machine.install())
    machine.calls()
    (machine.folder / 'env' / 'amd_mm').unlink()
    succeed(machine.install('--again'))
    assert any(f'-e {REPOSITORY}' in call for call in machine.calls())


def test_wheel_comes_from_the_cache(machine: Machine) -> None:
    succeed(machine.install())
    assert builds(machine.calls()) == 1
    machine.environment('other')
    output = succeed(machine.install(env='other'))
    assert f'from the cache: {machine.cache}' in output
    assert builds(machine.calls('other')) == 0
    assert (machine.folder / 'other' / 'mmcv').read_text() == 'sound\n'
    assert machine.wheels() == ['mmcv-cpu']


def test_cached_wheel_that_does_not_load_is_compiled_anew(machine: Machine) -> None:
    wheel = machine.cache / 'wheels' / 'mmcv-cpu' / 'mmcv-2.1.0-any.whl'
    wheel.parent.mkdir(parents=True)
    wheel.write_text('of another torch\n')
    output = succeed(machine.install())
    assert 'does not load: ImportError: undefined symbol' in output
    assert builds(machine.calls()) == 1
    assert wheel.read_text() == 'sound\n'


def test_built_wheel_that_does_not_load_says_why(machine: Machine) -> None:
    machine.environment('broken', wheel_is='broken')
    result = machine.install(env='broken')
    assert result.returncode == 1
    assert 'step 4 of 7 failed' in result.stderr
    assert 'ImportError: undefined symbol: of_another_torch' in result.stderr
    assert machine.wheels() == []


def test_cuda_operators_that_do_not_compile(machine: Machine) -> None:
    machine.command('nvidia-smi', 'echo "GPU 0: one"')
    machine.environment('gpu', breaks_for='1')
    output = succeed(machine.install('--again', env='gpu'))
    assert builds(machine.calls('gpu')) == 2
    (log,) = (machine.folder / 'gpu').glob('*-failed.log')
    assert 'the build breaks' in log.read_text()
    assert f'failed, see {log}' in output
    assert (machine.folder / 'gpu' / 'mmcv').read_text() == 'sound\n'
    # Scripts that set up what they need find all that can be had in place ...
    assert succeed(machine.install('--again', env='gpu')) == ''
    # ... and do not try for minutes when something else is to be done.
    (machine.folder / 'gpu' / 'missing').write_text('^pytest==\n')
    assert f'failed, see {log}' in succeed(machine.install('--again', env='gpu'))
    assert builds(machine.calls('gpu')) == 0
    # A user who asks for it gets another try, and it may work.
    succeed(machine.install(env='gpu'))
    assert builds(machine.calls('gpu')) == 1 and log.exists()
    (machine.folder / 'gpu' / 'breaks_for').unlink()
    assert 'Note' not in succeed(machine.install(env='gpu'))
    assert builds(machine.calls('gpu')) == 1 and not log.exists()
    assert machine.wheels() == ['mmcv-cpu', 'mmcv-cu130']
    assert IN_PLACE in succeed(machine.install(env='gpu'))


def test_failed_build_ends_the_installation(machine: Machine) -> None:
    machine.environment('broken', breaks_for='0')
    result = machine.install(env='broken')
    assert result.returncode == 1
    assert 'x.cu: error: the build breaks' in result.stderr
    assert machine.wheels() == []  # nor half a build


def test_what_killed_builds_left_is_removed(machine: Machine) -> None:
    old, new = (machine.cache / 'wheels' / f'.building-{n}' for n in (1, 2))
    for folder in (old, new):
        (folder / 'tmp').mkdir(parents=True)
    two_days_ago = new.stat().st_mtime - 2 * 24 * 3600
    os.utime(old, (two_days_ago, two_days_ago))
    succeed(machine.install())
    assert machine.wheels() == [new.name, 'mmcv-cpu']


def test_without_detection_and_then_with_it(machine: Machine) -> None:
    assert 'mmcv-lite' in succeed(machine.install('--no-detection'))
    calls = machine.calls()
    assert builds(calls) == 0 and 'detection.txt' not in ' '.join(calls)
    assert IN_PLACE in succeed(machine.install('--no-detection'))
    assert succeed(machine.install('--again')) == ''
    assert machine.calls() == []
    succeed(machine.install())
    calls = machine.calls()
    assert builds(calls) == 1 and 'detection.txt' in ' '.join(calls)
    # What is there is not taken away.
    assert IN_PLACE in succeed(machine.install('--no-detection'))


def test_classic(machine: Machine) -> None:
    result = machine.install('--classic')
    assert result.returncode == 1 and 'but 3.10 is needed' in result.stderr
    machine.environment('old', version='3.10')
    succeed(machine.install('--classic', env='old'))
    calls = ' '.join(machine.calls('old'))
    for name in ('build', 'runtime', 'tests', 'detection', 'constraints'):
        assert f'requirements/classic/{name}.txt' in calls
    assert 'requirements/mim.txt' in calls and 'docs.txt' not in calls
    assert succeed(machine.install('--again', env='old')) == ''


def test_active_environment_is_used(machine: Machine) -> None:
    active = machine.environment('active')
    assert f'into {active}' in succeed(machine.install(active=str(active)))
    assert (active / 'amd_mm').exists()
    assert not (machine.folder / 'env' / 'amd_mm').exists()


def test_python_for_an_environment_that_is_there(machine: Machine) -> None:
    for name, version in (('same', '3.11'), ('other', '3.12')):
        machine.environment(name, version=version)
    succeed(machine.install())
    python = machine.folder / 'other' / 'bin' / 'python'
    result = machine.install('--python', str(python))
    assert result.returncode == 1
    assert 'is there already, with Python 3.11' in result.stderr
    python = machine.folder / 'same' / 'bin' / 'python'
    output = succeed(machine.install('--python', str(python)))
    assert 'is there already and is kept' in output and IN_PLACE in output


def test_opencv_without_libgl(machine: Machine) -> None:
    machine.environment('bare', libGL='')
    assert 'taking the headless build' in succeed(machine.install(env='bare'))
    (removed,) = (
        c for c in machine.calls('bare') if 'opencv-contrib' in c and c.startswith('uninstall')
    )
    assert 'opencv-contrib-python-headless' in removed
