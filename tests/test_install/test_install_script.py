"""tools/install.sh, with a stub for the environment's Python: nothing is downloaded or compiled.

``stub_python.sh`` records the calls of pip. The real steps run wherever the tests are run.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from .conftest import REPOSITORY, run, succeed

TOOLS = REPOSITORY / 'tools'
SCRIPT = TOOLS / 'install.sh'
REQUIREMENTS = REPOSITORY / 'requirements'
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
        """Add a command that is found before the machine's own."""
        path = self.folder / 'bin' / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'#!/usr/bin/env bash\n{script}\n')
        path.chmod(0o755)

    def environment(self, name: str, **files: str) -> Path:
        """Make an environment; the files decide how its Python behaves."""
        folder = self.folder / name
        (folder / 'bin').mkdir(parents=True)
        shutil.copy(STUB, folder / 'bin' / 'python')
        (folder / 'bin' / 'python').chmod(0o755)
        for file, content in files.items():
            (folder / file).write_text(f'{content}\n')
        return folder

    def install(
        self, *options: object, env: str = 'env', active: str = ''
    ) -> subprocess.CompletedProcess:
        """Run the script in the repository, where amd_mm can be imported."""
        venv = [] if active else ['--venv', self.folder / env]
        return run(
            ['bash', SCRIPT, *venv, *options],
            REPOSITORY,
            PATH=f'{self.folder / "bin"}{os.pathsep}{os.environ["PATH"]}',
            VIRTUAL_ENV=active,
            AMD_MM_CACHE=str(self.cache),
            REAL_PYTHON=sys.executable,
        )

    def calls(self, env: str = 'env') -> list[str]:
        """The arguments of pip since the last time."""
        path = self.folder / env / 'calls'
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines

    def builds(self, env: str = 'env') -> int:
        """How often mmcv was compiled since the last time."""
        return sum(call.startswith('wheel ') for call in self.calls(env))

    def wheels(self) -> list[str]:
        """The folders of the cache's wheels."""
        return sorted(os.listdir(self.cache / 'wheels'))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


# ---------------------------------------------------------------- calls and failures


@pytest.mark.parametrize('script', sorted(TOOLS.rglob('*.sh')), ids=lambda path: path.name)
def test_scripts_parse(script: Path) -> None:
    succeed(run(['bash', '-n', script], REPOSITORY))


def test_help(machine: Machine) -> None:
    output = succeed(machine.install('--help'))
    for option in ('--venv', '--python', '--no-detection', '--classic', '--again'):
        assert option in output


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['--bogus'], 'unknown option --bogus'),
        (['--venv'], '--venv needs a value'),
        (['--venv', 'new', '--python', 'no-such'], 'there is no no-such'),
        (['--venv', TOOLS], 'exists and is not a virtual environment'),
        (['--venv', 'new', '--python', 'false'], 'needed is 3.11 or 3.12'),
    ],
)
def test_wrong_calls(machine: Machine, arguments: list, message: str) -> None:
    result = machine.install(*arguments)
    assert result.returncode == 1
    assert message in result.stderr
    assert not (REPOSITORY / 'new').exists()


def test_active_environment_is_used(machine: Machine) -> None:
    active = machine.environment('active')
    assert f'into {active}' in succeed(machine.install(active=str(active)))
    assert (active / 'amd_mm').exists()
    assert not (machine.folder / 'env' / 'amd_mm').exists()
    result = machine.install('--python', 'python3', active=str(active))
    assert result.returncode == 1 and 'deactivate' in result.stderr


def test_python_makes_new_environments_only(machine: Machine) -> None:
    base = machine.environment('base') / 'bin' / 'python'
    output = succeed(machine.install('--python', base, env='new'))
    assert 'Done in' in output and (machine.folder / 'new' / 'amd_mm').exists()
    output = succeed(machine.install('--python', base, env='new'))
    assert 'exists and is kept' in output and IN_PLACE in output
    other = machine.environment('other', version='3.12') / 'bin' / 'python'
    result = machine.install('--python', other, env='new')
    assert result.returncode == 1 and 'exists with Python 3.11' in result.stderr


def test_a_failed_step_is_named_with_its_log(machine: Machine) -> None:
    folder = machine.environment('broken', fails='install')
    result = machine.install(env='broken')
    assert result.returncode == 1
    assert 'step 2 of 7 failed: PyTorch and build tools' in result.stderr
    assert '| ERROR: pip fails' in result.stderr
    log = Path(re.search(r'Whole log: (\S+)\. ', result.stderr)[1])
    assert 'ERROR: pip fails' in log.read_text()
    assert (folder / 'amd-mm-install.stamp').read_text().startswith('unfinished')


# ---------------------------------------------------------------- repeated runs


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


# From a requirements file, pulled in by another package, and mmcv in its other build.
@pytest.mark.parametrize('name', ['torch', 'addict', 'mmcv'])
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


def test_without_detection_and_then_with_it(machine: Machine) -> None:
    assert 'mmcv-lite' in succeed(machine.install('--no-detection'))
    calls = ' '.join(machine.calls())
    assert 'wheel ' not in calls and 'detection.txt' not in calls
    assert succeed(machine.install('--again')) == ''
    succeed(machine.install())
    calls = ' '.join(machine.calls())
    assert 'wheel ' in calls and 'detection.txt' in calls
    # An installed detection is kept.
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


def test_opencv_without_libgl(machine: Machine) -> None:
    machine.environment('bare', libGL='')
    assert 'headless' in succeed(machine.install(env='bare'))
    calls = machine.calls('bare')
    assert any(c.startswith('uninstall') and 'opencv-contrib-python-headless' in c for c in calls)


# ---------------------------------------------------------------- compiling mmcv


def test_wheel_comes_from_the_cache(machine: Machine) -> None:
    old, new = (machine.cache / 'wheels' / f'.building-{n}' for n in (1, 2))
    for folder in (old, new):  # what killed builds have left
        (folder / 'tmp').mkdir(parents=True)
    two_days_ago = new.stat().st_mtime - 2 * 24 * 3600
    os.utime(old, (two_days_ago, two_days_ago))
    succeed(machine.install())
    assert machine.builds() == 1 and machine.wheels() == [new.name, 'mmcv-cpu']
    machine.environment('other')
    assert f'from the cache: {machine.cache}' in succeed(machine.install(env='other'))
    assert machine.builds('other') == 0
    assert (machine.folder / 'other' / 'mmcv').read_text() == 'sound\n'


def test_cached_wheel_that_does_not_load_is_compiled_again(machine: Machine) -> None:
    wheel = machine.cache / 'wheels' / 'mmcv-cpu' / 'mmcv-2.1.0-any.whl'
    wheel.parent.mkdir(parents=True)
    wheel.write_text('of another torch\n')
    output = succeed(machine.install())
    assert 'does not load (ImportError: undefined symbol' in output
    assert machine.builds() == 1
    assert wheel.read_text() == 'sound\n'


@pytest.mark.parametrize(
    'files, message',
    [
        (dict(wheel_is='broken'), 'ImportError: undefined symbol: of_another_torch'),
        (dict(breaks_for='0'), 'x.cu: error: the build breaks'),
    ],
)
def test_failed_build_ends_the_installation(machine: Machine, files: dict, message: str) -> None:
    machine.environment('broken', **files)
    result = machine.install(env='broken')
    assert result.returncode == 1
    assert 'step 4 of 7 failed' in result.stderr and message in result.stderr
    assert machine.wheels() == []  # nor half a build


def test_cuda_operators_that_do_not_compile(machine: Machine) -> None:
    machine.command('nvidia-smi', 'echo "GPU 0: one"')
    machine.environment('gpu', breaks_for='1')
    output = succeed(machine.install('--again', env='gpu'))
    assert machine.builds('gpu') == 2
    (log,) = (machine.folder / 'gpu').glob('*-failed.log')
    assert 'the build breaks' in log.read_text()
    assert f'failed, see {log}' in output
    assert (machine.folder / 'gpu' / 'mmcv').read_text() == 'sound\n'
    # --again accepts that, also when another package is missing ...
    assert succeed(machine.install('--again', env='gpu')) == ''
    (machine.folder / 'gpu' / 'missing').write_text('^pytest==\n')
    assert f'failed, see {log}' in succeed(machine.install('--again', env='gpu'))
    assert machine.builds('gpu') == 0
    # ... and without it the build is tried again.
    (machine.folder / 'gpu' / 'breaks_for').unlink()
    assert 'Note' not in succeed(machine.install(env='gpu'))
    assert machine.builds('gpu') == 1 and not log.exists()
    assert machine.wheels() == ['mmcv-cpu', 'mmcv-cu130']
    assert IN_PLACE in succeed(machine.install(env='gpu'))


# ---------------------------------------------------------------- install_state.py


@pytest.fixture(scope='module')
def state() -> SimpleNamespace:
    """The functions of tools/install_state.py."""
    names: dict = {'__name__': 'install_state'}
    exec((TOOLS / 'install_state.py').read_text(), names)
    return SimpleNamespace(**names)


def test_pins_that_are_not_met(state: SimpleNamespace, tmp_path: Path, monkeypatch) -> None:
    for build in ('one', 'two-lite', 'three-headless'):
        info = tmp_path / f'{build.replace("-", "_")}-2.1.dist-info'
        info.mkdir()
        (info / 'METADATA').write_text(f'Name: {build}\nVersion: 2.1+cpu\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    pins = tmp_path / 'pins.txt'
    pins.write_text('# comment\none==2.1  # met\ntwo==2.1\nthree==2.1\n')
    assert state.unmet_pins([pins]) == []
    pins.write_text('one==0.1  # old\nno-such-package==1\n')
    expected = ['one==0.1, found 2.1+cpu', 'no-such-package==1, found nothing']
    assert state.unmet_pins([pins]) == expected


def test_key_changes_with_files_and_words(state: SimpleNamespace, tmp_path: Path) -> None:
    pins, keys = tmp_path / 'pins.txt', []
    for content, word in (('a==1', 'x'), ('a==2', 'x'), ('a==1', 'y'), ('a==1', 'x')):
        pins.write_text(content)
        keys.append(state.install_key([pins], [word]))
    assert len(set(keys)) == 3 and keys[0] == keys[-1]


def test_mmcv_tag_names_what_a_wheel_depends_on(state: SimpleNamespace) -> None:
    tag, architectures, obstacle = state.mmcv_tag('2.1.0', gpu=False, nvcc='')
    python, version = 'cp{}{}'.format(*sys.version_info[:2]), torch.__version__.split('+')[0]
    assert re.fullmatch(rf'mmcv-2\.1\.0-{python}-\w+-torch{re.escape(version)}-cpu', tag)
    assert (architectures, obstacle) == ('', '')


# ---------------------------------------------------------------- requirements


def pinned(path: Path) -> list[str]:
    """Requirement lines of a file, without comments."""
    lines = [line.partition('#')[0].strip() for line in path.read_text().split('\n')]
    return [line for line in lines if line]


@pytest.mark.parametrize('folder', [REQUIREMENTS, REQUIREMENTS / 'classic'])
def test_every_requirement_is_pinned_once_and_names_no_host(folder: Path) -> None:
    lines = [line for path in folder.glob('*.txt') for line in pinned(path)]
    for line in lines:
        assert re.fullmatch(r'[A-Za-z0-9_-]+==[0-9][0-9a-z.]*', line), line
    names = [line.partition('==')[0].lower().replace('_', '-') for line in lines]
    assert len(names) == len(set(names))
    for path in [*TOOLS.glob('install*'), *folder.glob('*.txt')]:
        assert '://' not in path.read_text(), path
