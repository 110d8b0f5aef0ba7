"""Wheels and environments of this repository, made once for all tests.

pytest-xdist's workers share the installed packages: building and installing takes seconds. Tests
must not change them.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from filelock import FileLock

REPOSITORY = Path(__file__).resolve().parents[2]
SITE_PACKAGES = Path(find_spec('mmengine').origin).parent.parent

# Files that running and building leave in the tree; they do not belong to the package.
TRACES = (
    '.venv/lib/package.py',
    'amd_mm/.mim/configs/removed_long_ago.py',
    'amd_mm/__pycache__/version.cpython-311.pyc',
    'build/lib/amd_mm/removed_long_ago.py',
    'configs/amd/__pycache__/config.cpython-311.pyc',
    'configs/amd/.ipynb_checkpoints/config-checkpoint.py',
    'tools/work_dirs/run/epoch_1.pth',
    'work_dirs/run/epoch_1.pth',
)


def run(command: list[object], cwd: Path, **environment: str) -> subprocess.CompletedProcess:
    """Run a command and capture its output as text."""
    return subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


def succeed(result: subprocess.CompletedProcess) -> str:
    """The output of a command that must not fail."""
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return result.stdout


def repository_files() -> list[str]:
    """The files that git knows, or would add: paths from the top level."""
    listing = run(['git', 'ls-files', '-z', '-co', '--exclude-standard'], REPOSITORY)
    if listing.returncode:
        pytest.skip('not a git checkout: nothing says which files belong to it')
    names = {name for name in listing.stdout.split('\0') if name}
    return sorted(name for name in names if (REPOSITORY / name).is_file())


def copy_repository(folder: Path) -> None:
    """Copy what git knows, so that building leaves no traces in the repository."""
    for name in repository_files():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPOSITORY / name, folder / name)


def build_wheel(source: Path, folder: Path) -> Path:
    """Build the wheel of a folder or of an sdist without downloading."""
    command = [sys.executable, '-m', 'pip', 'wheel', '--no-deps', '--no-index']
    succeed(run([*command, '--no-build-isolation', '-w', folder, source], folder))
    return next(folder.glob('amd_mm-*.whl'))


def make_environment(folder: Path, *install: object) -> None:
    """Make a virtual environment that borrows all packages except amd_mm, and install into it.

    The amd_mm of the environment that runs the tests is not seen: its ``.pth`` file is not read
    from the borrowed folder.
    """
    succeed(run([sys.executable, '-m', 'venv', '--without-pip', folder / 'env'], folder))
    python = folder / 'env' / 'bin' / 'python'
    site = next((folder / 'env' / 'lib').glob('python*')) / 'site-packages'
    (site / 'borrowed.pth').write_text(f'{SITE_PACKAGES}\n')
    command = [sys.executable, '-m', 'pip', '--python', python, 'install', '--no-deps']
    succeed(run([*command, '--no-index', '--no-build-isolation', *install], folder))


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that ``make(folder)`` has filled in the first of all xdist workers."""
    root = factory.getbasetemp()
    if 'PYTEST_XDIST_WORKER' in os.environ:
        root = root.parent
    folder, done = root / name, root / f'{name}.done'
    with FileLock(root / f'{name}.lock'):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


@pytest.fixture(scope='session')
def source_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository with traces of work."""

    def make(folder: Path) -> None:
        copy_repository(folder)
        for name in TRACES:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text('a trace\n')

    return made_once(tmp_path_factory, 'source_tree', make)


@pytest.fixture(scope='session')
def wheel(source_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the repository."""
    folder = made_once(tmp_path_factory, 'wheel', lambda folder: build_wheel(source_tree, folder))
    return next(folder.glob('amd_mm-*.whl'))


@pytest.fixture(scope='session')
def wheel_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the wheel."""
    folder = made_once(tmp_path_factory, 'from_wheel', lambda f: make_environment(f, wheel))
    return folder / 'env' / 'bin' / 'python'


@pytest.fixture(scope='session')
def editable_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another copy of the repository, for an editable install."""
    return made_once(tmp_path_factory, 'editable_tree', copy_repository)


@pytest.fixture(scope='session')
def editable_python(editable_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with an editable install of ``editable_tree``."""

    def make(folder: Path) -> None:
        make_environment(folder, '-e', editable_tree)

    folder = made_once(tmp_path_factory, 'editable', make)
    return folder / 'env' / 'bin' / 'python'
