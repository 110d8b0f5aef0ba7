"""Environments in which packages are missing, and copies of the repository."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Callable, List

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent.parent
SITE_PACKAGES = Path(sysconfig.get_path('purelib'))

RunPython = Callable[..., subprocess.CompletedProcess]


def run(
    command: List[object], cwd: Path, **environment: str
) -> subprocess.CompletedProcess:
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


@pytest.fixture
def python_without(tmp_path: Path) -> Callable[..., RunPython]:
    """Make a Python in which some modules are really not there.

    ``python_without('mmdet', 'mmcv._ext')`` returns a function that runs
    ``python ARGUMENTS...`` with links to all of site-packages but those.
    """

    def make(*missing: str) -> RunPython:
        site = tmp_path / 'site'
        _link_except(SITE_PACKAGES, site, set(missing))

        def run_python(*arguments: object) -> subprocess.CompletedProcess:
            path = os.pathsep.join([str(REPOSITORY), str(site)])
            # -S: no site-packages but these links.
            return run(
                [sys.executable, '-S', *arguments],
                tmp_path,
                PYTHONPATH=path,
                PYTHONDONTWRITEBYTECODE='1',
            )

        return run_python

    return make


def _link_except(source: Path, target: Path, missing: set) -> None:
    """Link every entry of a folder, but not the modules named."""
    target.mkdir()
    tops = {name.partition('.')[0] for name in missing if '.' in name}
    for entry in source.iterdir():
        module = entry.name.partition('.')[0]
        distribution = entry.name.partition('-')[0]
        if module in missing or (
            entry.suffix == '.dist-info' and distribution in missing
        ):
            continue
        if entry.name in tops and entry.is_dir():
            inner = {
                name.partition('.')[2]
                for name in missing
                if name.startswith(f'{entry.name}.')
            }
            _link_except(entry, target / entry.name, inner)
        else:
            (target / entry.name).symlink_to(entry)


@pytest.fixture(scope='module')
def repository_copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what gets packaged, so that building leaves no traces."""
    copy = tmp_path_factory.mktemp('copy') / 'amd_mm'
    copy.mkdir()
    for name in ('amd_mm', 'configs', 'tools', 'requirements'):
        shutil.copytree(
            REPOSITORY / name,
            copy / name,
            ignore=shutil.ignore_patterns('__pycache__', '.mim'),
        )
    for path in REPOSITORY.iterdir():
        if path.is_file():
            shutil.copy2(path, copy / path.name)
    return copy


def empty_environment(folder: Path) -> Path:
    """Make a virtual environment that borrows all packages but amd_mm.

    Returns:
        Path: Its Python. The editable amd_mm of the environment that runs the
            tests is not seen: its ``.pth`` file is not read from there.
    """
    succeed(
        run(
            [sys.executable, '-m', 'venv', '--without-pip', folder],
            folder.parent,
        )
    )
    python = folder / 'bin' / 'python'
    site = succeed(
        run(
            [
                python,
                '-c',
                'import sysconfig; print(sysconfig.get_path("purelib"))',
            ],
            folder,
        )
    ).strip()
    Path(site, 'borrowed.pth').write_text(f'{SITE_PACKAGES}\n')
    return python


def pip_install(python: Path, *arguments: object) -> None:
    """Install into the environment of ``python``, downloading nothing."""
    succeed(
        run(
            [
                sys.executable,
                '-m',
                'pip',
                '--python',
                python,
                'install',
                '--no-deps',
                '--no-index',
                '--no-build-isolation',
                *arguments,
            ],
            python.parent,
        )
    )
