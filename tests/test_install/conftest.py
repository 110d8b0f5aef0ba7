"""Environments in which packages are missing, and installed packages."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from .packages import (  # noqa: F401, the last five are fixtures
    REPOSITORY,
    SITE_PACKAGES,
    editable_python,
    editable_tree,
    run,
    source_tree,
    succeed,
    wheel,
    wheel_python,
)

RunPython = Callable[..., subprocess.CompletedProcess]


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
        if module in missing or (entry.suffix == '.dist-info' and distribution in missing):
            continue
        if entry.name in tops and entry.is_dir():
            inner = {
                name.partition('.')[2] for name in missing if name.startswith(f'{entry.name}.')
            }
            _link_except(entry, target / entry.name, inner)
        else:
            (target / entry.name).symlink_to(entry)
