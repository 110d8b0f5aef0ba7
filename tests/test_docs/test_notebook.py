"""docs/quickstart.ipynb runs from its first to its last cell, with fewer videos and steps."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / 'docs/quickstart.ipynb'
SIZES = 'VIDEOS, STEPS = 64, 60'


@pytest.fixture(scope='module')
def cells() -> list[dict]:
    return json.loads(NOTEBOOK.read_text(encoding='utf-8'))['cells']


def test_outputs_are_not_stored(cells):
    code = [cell for cell in cells if cell['cell_type'] == 'code']
    assert not any(cell['outputs'] or cell['execution_count'] for cell in code)


def test_the_cells_run(cells, tmp_path):
    """As a program; the last expression of a cell, which a notebook shows, is computed, too."""
    code = [''.join(cell['source']) for cell in cells if cell['cell_type'] == 'code']
    program = '\n\n'.join(code)
    assert SIZES in program
    program = program.replace(SIZES, 'VIDEOS, STEPS = 16, 2')
    program += '\nassert tuple(feature.shape) == (1, 96) and len(features) == 16, feature.shape\n'
    done = subprocess.run(
        [sys.executable, '-c', program], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'work_dirs/notebook/run/reconstruction.png').is_file()
