"""docs/seeing.md: its commands are understood, its pictures are there."""

import re
import shlex
from pathlib import Path

import pytest

from ..test_tools.tool_scripts import TOOLS, load_tool

PAGE = TOOLS.parent / 'docs' / 'seeing.md'


def commands() -> list:
    """The commands of the page, split into arguments."""
    blocks = re.findall(r'```bash\n(.*?)```', PAGE.read_text(), re.DOTALL)
    lines = ''.join(blocks).replace('\\\n', ' ').splitlines()
    return [shlex.split(line) for line in lines if line.startswith('python')]


@pytest.mark.parametrize('command', commands(), ids=lambda words: words[1])
def test_a_command_is_understood(command: list, monkeypatch: pytest.MonkeyPatch) -> None:
    _, script, *arguments = command
    assert (TOOLS.parent / script).is_file()
    monkeypatch.syspath_prepend(str(TOOLS / 'visualize'))
    tool = load_tool(f'visualize/{Path(script).stem}')
    assert tool.make_parser().parse_args(arguments).out


def test_every_tool_has_a_command() -> None:
    shown = {Path(command[1]).stem for command in commands()}
    runnable = {
        path.stem for path in (TOOLS / 'visualize').glob('*.py') if '__main__' in path.read_text()
    }
    assert shown == runnable


def test_the_pictures_are_there_and_small() -> None:
    links = re.findall(r'!\[[^]]+\]\(([^)]+)\)', PAGE.read_text())
    assert len(links) == 4
    for link in links:
        assert (PAGE.parent / link).stat().st_size < 150_000, link


def test_the_quickstarts_checkpoints_are_those_it_leaves() -> None:
    quickstart = (TOOLS / 'quickstart' / 'quickstart.py').read_text()
    left = dict(re.findall(r"^(\w+)_CHECKPOINT = '(\S+)'$", quickstart, re.MULTILINE))
    named = re.findall(r'\$run/(\w+)[\w-]*/(\w+\.pth)', PAGE.read_text())
    assert len(named) > 3
    for model, checkpoint in named:
        assert checkpoint == left[model.upper()], (model, checkpoint)
