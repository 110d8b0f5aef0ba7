"""tools/install.sh with a Python that only records what pip is asked for, and the versions."""

import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from .conftest import REPOSITORY, run, succeed

TOOLS = REPOSITORY / 'tools'
REQUIREMENTS = REPOSITORY / 'requirements'
STUB = """#!/usr/bin/env bash
here=$(dirname "$0")
case "$*" in
*version_info*) cat "$here/version" ;;
'-m venv '*) mkdir -p "$3/bin" && cp "$here"/* "$3/bin/" ;;
'-m pip '*) echo "${*:3}" >>"$here/calls" && [ ! -e "$here/broken" ] ;;
'-m amd_mm.doctor') echo 'the doctor' ;;
*compile_mmcv.py) echo compile >>"$here/calls" ;;
esac
"""


class Machine:
    """A folder with a stub of Python, and the environment that it makes."""

    def __init__(self, folder: Path, version: str = '3.11') -> None:
        self.bin = folder / 'env' / 'bin'
        self.python = folder / 'python'
        (folder / 'python').mkdir()
        (self.python / 'version').write_text(version)
        self.python /= 'python'
        self.python.write_text(STUB)
        self.python.chmod(0o755)

    def install(self, *options: object, **environment: str) -> subprocess.CompletedProcess:
        """Run the script with ``env`` as environment."""
        words = ('--venv', self.bin.parent, '--python', self.python, *options)
        return run(['bash', TOOLS / 'install.sh', *words], REPOSITORY, **environment)

    def calls(self) -> list[str]:
        """The arguments of pip since the last time."""
        path = self.bin / 'calls'
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize('script', sorted(TOOLS.rglob('*.sh')), ids=lambda path: path.name)
def test_scripts_parse(script: Path) -> None:
    succeed(run(['bash', '-n', script], REPOSITORY))


@pytest.mark.parametrize(
    'options, names',
    [
        (['--quickstart'], ['torch', 'base']),
        ([], ['torch', 'base', 'full']),
        (['--tests'], ['torch', 'base', 'full', 'tests']),
    ],
)
def test_what_is_installed(machine: Machine, options: list[str], names: list[str]) -> None:
    assert 'the doctor' in succeed(machine.install(*options))
    calls = machine.calls()
    assert re.findall(r'requirements/(\w+)\.txt', ' '.join(calls)) == names
    assert f'-e {REPOSITORY}' in calls[1] and '--no-deps' in calls[1] and len(calls) == 2


def test_again_does_what_is_missing(machine: Machine) -> None:
    succeed(machine.install('--quickstart'))
    machine.calls()
    assert succeed(machine.install('--quickstart', '--again')) == ''
    assert machine.calls() == []
    succeed(machine.install('--again'))
    assert 'full.txt' in machine.calls()[1]
    assert succeed(machine.install('--quickstart', '--again')) == ''
    succeed(machine.install('--again', '--compile-mmcv'))
    assert machine.calls()[-1] == 'compile'
    # As after a change of setup.py or of a pin.
    stamp = machine.bin.parent / 'amd_mm-installed.txt'
    stamp.write_text(stamp.read_text().replace('setup.py', 'other.py'))
    succeed(machine.install('--again'))
    assert machine.calls()


def test_failing_pip(machine: Machine) -> None:
    (machine.python.parent / 'broken').touch()
    for _ in range(2):
        result = machine.install('--again')
        assert result.returncode == 1 and 'pip failed' in result.stderr
        assert len(machine.calls()) == 1


def test_version_of_python_decides(tmp_path: Path) -> None:
    machine = Machine(tmp_path, '3.10')
    succeed(machine.install())
    assert 'requirements/classic/torch.txt' in machine.calls()[0]
    for folder in (machine.bin, machine.python.parent):
        (folder / 'version').write_text('3.14')
        result = machine.install()
        assert result.returncode == 1 and '3.11 or 3.12' in result.stderr
        shutil.rmtree(machine.bin.parent, ignore_errors=True)
    assert machine.calls() == []


def test_active_environment_is_used(machine: Machine) -> None:
    succeed(machine.install('--quickstart'))
    machine.calls()
    active = str(machine.bin.parent)
    succeed(run(['bash', TOOLS / 'install.sh'], REPOSITORY, VIRTUAL_ENV=active))
    assert machine.calls()


@pytest.mark.parametrize('arguments', [['--bogus'], ['--venv']])
def test_wrong_calls(arguments: list) -> None:
    result = run(['bash', TOOLS / 'install.sh', *arguments], REPOSITORY)
    assert result.returncode == 1 and '--help' in result.stderr


def test_tools_continue_with_the_environment(tmp_path: Path) -> None:
    tools = Path(shutil.copytree(TOOLS, tmp_path / 'tools', symlinks=True))
    bare = [sys.executable, '-S', '-E', tools / '_venv.py', '--option']
    result = run(bare, tmp_path)
    assert result.returncode == 1 and 'has no torch and no mmengine and no amd_mm' in result.stderr
    python = tmp_path / '.venv' / 'bin' / 'python'
    python.parent.mkdir(parents=True)
    python.write_text('#!/usr/bin/env bash\necho "$0" "$@"\n')
    python.chmod(0o755)
    # These install first, or are started by install.sh.
    others = {'quickstart.py', 'digits.py', 'compile_mmcv.py'}
    scripts = [path for path in sorted(tools.rglob('*.py')) if '__main__' in path.read_text()]
    scripts = [path for path in scripts if path.name not in others]
    assert len(scripts) > 20
    for tool in scripts:
        bare[3] = tool
        assert succeed(run(bare, tmp_path)) == f'{python} {tool} --option\n'


# ---------------------------------------------------------------- compile_mmcv.py


def load(path: Path) -> dict:
    names: dict = {'__name__': path.stem, '__file__': str(path)}
    exec(path.read_text(), names)
    return names


def test_wheel_of_mmcv_is_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('AMD_MM_CACHE', str(tmp_path))
    commands, codes = [], [1, 0]

    def call(command: list, **options: object) -> SimpleNamespace:
        commands.append(command)
        if 'wheel' in command:
            assert options['env']['MMCV_WITH_OPS'] == '1'
            (Path(command[-1]) / 'mmcv-2.1.0-any.whl').touch()
            return codes.pop(0)
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(subprocess, 'call', call)
    monkeypatch.setattr(subprocess, 'run', call)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    main = load(TOOLS / 'compile_mmcv.py')['main']
    with pytest.raises(SystemExit, match='does not compile'):
        main()
    main()
    main()
    assert sum('wheel' in command for command in commands) == 2
    (wheel,) = tmp_path.rglob('*.whl')
    python, version = 'cp{}{}'.format(*sys.version_info[:2]), torch.__version__.split('+')[0]
    for part in (python, f'torch{version}', 'cpu'):
        assert part in wheel.parent.name
    assert wheel in commands[-2]


# ---------------------------------------------------------------- requirements


def pins(*paths: Path) -> dict[str, str]:
    """Version of each package in some requirements files; none is there twice."""
    found: dict[str, str] = {}
    for path in paths:
        for line in path.read_text().splitlines():
            if line := line.partition('#')[0].strip():
                match = re.fullmatch(r'([\w-]+)==([\w.]+)(; platform_machine == "x86_64")?', line)
                assert match, (path, line)
                assert canonicalize_name(match[1]) not in found, line
                found[canonicalize_name(match[1])] = match[2]
    return found


@pytest.mark.parametrize('folder', [REQUIREMENTS, REQUIREMENTS / 'classic'])
def test_pins_are_in_the_ranges_of_setup(folder: Path) -> None:
    pinned = pins(*folder.glob('*.txt'))
    wanted = [Requirement(line) for line in distribution('amd_mm').requires]
    for need in wanted:
        if need.marker is None or 'extra' not in str(need.marker) or 'tests' in str(need.marker):
            version = pinned.get(canonicalize_name(need.name))
            if version is None:
                assert folder.name == 'classic' and need.name == 'pytest-cov', need
            else:
                assert version in need.specifier, need


# openmim's downgrades setuptools; torch has chosen its own; the headless build has no libGL.
UNUSED = {'opendatalab', 'pip', 'opencv-python', 'opencv-contrib-python'}


def test_every_dependency_is_pinned() -> None:
    """The files are installed without dependencies, so each dependency has to be in one."""
    files = [REQUIREMENTS / f'{name}.txt' for name in ('torch', 'base', 'full', 'tests')]
    for count in range(2, len(files) + 1):
        pinned = pins(*files[:count])
        for name in pinned.keys() - {'torch'}:
            try:
                requires = distribution(name).requires or ()
            except PackageNotFoundError:  # of another build, such as compiled mmcv
                continue
            for need in map(Requirement, requires):
                if need.marker is None or need.marker.evaluate({'extra': ''}):
                    known = canonicalize_name(need.name) in pinned.keys() | UNUSED
                    assert known or (need.name, count) == ('decord', 2), (name, str(need))
