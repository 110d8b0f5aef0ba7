"""The code on a page of the documentation."""

import re
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / 'docs'


def code_of(page: str) -> dict[str, str]:
    """The Python files of a page in ``docs``: code blocks that begin with ``# NAME.py``, by name."""
    text = (DOCS / page).read_text(encoding='utf-8')
    files: dict[str, str] = {}
    for code in re.findall(r'^```python\n(.*?)^```$', text, re.M | re.S):
        match = re.match(r'# ([\w/]+\.py)\n', code)
        if match is None:
            raise ValueError(f'{page}: a block has no name: {code[:60]!r}')
        if match[1] in files:
            raise ValueError(f'{page}: two blocks are called {match[1]}')
        files[match[1]] = code
    return files


def write_files(files: dict[str, str], folder: Path) -> None:
    """Write code to where its names say."""
    for name, code in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(code, encoding='utf-8')
