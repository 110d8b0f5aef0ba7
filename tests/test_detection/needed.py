"""What the tests of action detection need."""

import importlib.util

import pytest


def skip_without_mmdet() -> None:
    """Skip a test where mmdet or mmcv's compiled ops are missing."""
    for package in ('mmdet', 'mmcv._ext'):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f'action detection needs {package}, which is not installed')
