"""The quickstart's programs are scripts: import them from where they are."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parents[2] / 'tools' / 'quickstart'
sys.path.insert(0, str(HERE))
