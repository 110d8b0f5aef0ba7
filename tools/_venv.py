"""Imported first by the tools: continues with .venv if this Python lacks the packages.

As a script, prints the Python to use. The folders of tools have symbolic links to this file.
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

_PYTHON = Path(__file__).resolve().parents[1] / '.venv' / 'bin' / 'python'
_MISSING = [name for name in ('torch', 'mmengine', 'amd_mm') if find_spec(name) is None]

if _MISSING:
    if Path(sys.executable) == _PYTHON or not _PYTHON.exists():
        sys.exit(
            f'{sys.executable} has no {" and no ".join(_MISSING)}: run bash tools/install.sh, or '
            'activate the environment that has them'
        )
    print(f'{sys.executable} has no {_MISSING[0]}: continuing with {_PYTHON}', file=sys.stderr)
    os.execv(_PYTHON, [str(_PYTHON), *sys.argv])

if __name__ == '__main__':
    print(sys.executable)
