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
    """Make a Python in which some modules are missing.

    ``python_without('mmdet', 'mmcv._ext')`` returns a function that runs ``python ARGUMENTS...``
    with links to everything in site-packages but those.
    """

    def make(*missing: str) -> RunPython:
        site = tmp_path / 'site'
        link_except(SITE_PACKAGES, site, set(missing))
        path = os.pathsep.join([str(REPOSITORY), str(site)])

        def run_python(*arguments: object) -> subprocess.CompletedProcess:
            # -S: no site-packages but these links.
            command = [sys.executable, '-S', *arguments]
            return run(command, tmp_path, PYTHONPATH=path, PYTHONDONTWRITEBYTECODE='1')

        return run_python

    return make


def link_except(source: Path, target: Path, missing: set[str]) -> None:
    """Link every entry of a folder except the modules that are named."""
    target.mkdir()
    for entry in source.iterdir():
        module, distribution = entry.name.partition('.')[0], entry.name.partition('-')[0]
        inner = {name.partition('.')[2] for name in missing if name.startswith(f'{entry.name}.')}
        if module in missing or (entry.suffix == '.dist-info' and distribution in missing):
            continue
        if inner and entry.is_dir():
            link_except(entry, target / entry.name, inner)
        else:
            (target / entry.name).symlink_to(entry)
