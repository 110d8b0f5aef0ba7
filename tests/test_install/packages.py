"""Wheels, sdists and environments of this repository, made once for all.

The workers of pytest-xdist share what is made here: building and installing
takes seconds. Nothing of it is to be changed by a test.
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

REPOSITORY = Path(__file__).resolve().parent.parent.parent
SITE_PACKAGES = Path(find_spec('mmengine').origin).parent.parent

# What running and building things leaves in the tree: no package's business.
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
    """Run a command; its output is text, errors are the caller's business."""
    return subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def succeed(result: subprocess.CompletedProcess) -> str:
    """The output of a command that must not fail."""
    output = result.stdout[-3000:] + result.stderr[-3000:]
    assert result.returncode == 0, output
    return result.stdout


def repository_files() -> list[str]:
    """What git knows, or would with ``git add``: paths from the top level."""
    listing = run(['git', 'ls-files', '-z', '-co', '--exclude-standard'], REPOSITORY)
    if listing.returncode:
        pytest.skip('this is no git checkout: nothing says what belongs to it')
    names = listing.stdout.split('\0')
    return sorted({name for name in names if name and (REPOSITORY / name).is_file()})


def copy_repository(target: Path) -> None:
    """Copy what git knows, so that building leaves no traces behind."""
    for name in repository_files():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPOSITORY / name, target / name)


def leave_traces(target: Path) -> None:
    """Make a tree look as if it had been worked in."""
    for name in TRACES:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_text('a trace\n')


def build_wheel(source: Path, target: Path) -> Path:
    """Build the wheel of a folder or an sdist, downloading nothing."""
    command = [sys.executable, '-m', 'pip', 'wheel', '--no-deps']
    offline = ['--no-index', '--no-build-isolation', '-w', target, source]
    succeed(run([*command, *offline], target))
    return next(target.glob('amd_mm-*.whl'))


def build_sdist(source: Path, target: Path) -> Path:
    """Build the sdist of a folder by the build backend."""
    code = f'import setuptools.build_meta as backend; print(backend.build_sdist({str(target)!r}))'
    succeed(run([sys.executable, '-c', code], source))
    return next(target.glob('amd_mm-*.tar.gz'))


def empty_environment(folder: Path) -> Path:
    """Make a virtual environment that borrows all packages but amd_mm.

    Returns:
        Path: Its Python. The editable amd_mm of the environment that runs the
            tests is not seen: its ``.pth`` file is not read from there.
    """
    make = [sys.executable, '-m', 'venv', '--without-pip', folder]
    succeed(run(make, folder.parent))
    python = folder / 'bin' / 'python'
    where = 'import sysconfig; print(sysconfig.get_path("purelib"))'
    site = succeed(run([python, '-c', where], folder)).strip()
    Path(site, 'borrowed.pth').write_text(f'{SITE_PACKAGES}\n')
    return python


def pip_install(python: Path, *arguments: object) -> None:
    """Install into the environment of ``python``, downloading nothing."""
    command = [sys.executable, '-m', 'pip', '--python', python, 'install']
    offline = ['--no-deps', '--no-index', '--no-build-isolation']
    succeed(run([*command, *offline, *arguments], python.parent))


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that ``make(folder)`` has filled, for all xdist workers.

    Args:
        factory (pytest.TempPathFactory): pytest's.
        name (str): Of the folder.
        make (Callable): Called in the one worker that comes first.

    Returns:
        Path: The folder.
    """
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
    """A copy of the repository in which somebody has worked."""

    def make(folder: Path) -> None:
        copy_repository(folder)
        leave_traces(folder)

    return made_once(tmp_path_factory, 'source_tree', make)


@pytest.fixture(scope='session')
def wheel(source_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the repository."""
    folder = made_once(tmp_path_factory, 'wheel', lambda folder: build_wheel(source_tree, folder))
    return next(folder.glob('amd_mm-*.whl'))


@pytest.fixture(scope='session')
def wheel_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of an environment into which the wheel was installed."""
    folder = made_once(
        tmp_path_factory,
        'from_wheel',
        lambda folder: pip_install(empty_environment(folder / 'env'), wheel),
    )
    return folder / 'env' / 'bin' / 'python'


@pytest.fixture(scope='session')
def editable_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another copy of the repository, to be installed in place."""
    return made_once(tmp_path_factory, 'editable_tree', copy_repository)


@pytest.fixture(scope='session')
def editable_python(editable_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of an environment with an editable install of the copy."""

    def make(folder: Path) -> None:
        python = empty_environment(folder / 'env')
        pip_install(python, '-e', editable_tree)

    folder = made_once(tmp_path_factory, 'editable', make)
    return folder / 'env' / 'bin' / 'python'
