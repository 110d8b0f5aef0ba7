"""Curves need no model: importing the package imports none."""

import subprocess
import sys

import amd_mm.visualization
import pytest

SCRIPT = """
import sys
import amd_mm.visualization as pictures
import amd_mm.visualization.command_line
heavy = ('amd_mm.models', 'mmaction', 'mmpretrain', 'mmcv')
print([name for name in heavy if name in sys.modules])
"""


def test_curves_and_classes_import_no_models() -> None:
    done = subprocess.run(
        [sys.executable, '-c', SCRIPT], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == '[]'


def test_every_name_is_there() -> None:
    for name in amd_mm.visualization.__all__:
        assert callable(getattr(amd_mm.visualization, name))
    with pytest.raises(AttributeError, match='no attribute'):
        amd_mm.visualization.draw_everything  # noqa: B018
