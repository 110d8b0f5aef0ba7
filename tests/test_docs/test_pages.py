"""Files, options and config keys that the pages name exist."""

import re
import shlex
from functools import cache
from pathlib import Path

import pytest
from mmengine.config import Config

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path
    for pattern in ('*.md', 'docs/**/*.md', 'configs/**/*.md', 'tools/**/*.md')
    for path in ROOT.glob(pattern)
    if path.name != 'CHANGELOG.md'
)

IN_MMACTION2 = {'tools/data/ava_kinetics', 'tools/data/build_rawframes.py'}


def commands(page: Path) -> list[list[str]]:
    """The commands of a page, split into arguments."""
    blocks = ''.join(re.findall(r'```bash\n(.*?)```', page.read_text(), re.DOTALL))
    lines = blocks.replace('\\\n', ' ').splitlines()
    inline = re.findall(r'`((?:python|bash) tools/[^`\n]+)`', page.read_text())
    found = []
    for line in [*lines, *inline]:
        try:
            found.append(shlex.split(line, comments=True))
        except ValueError:  # a shell script, not a command
            continue
    return found


each_page = pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@cache
def sources(folder: Path) -> str:
    """The scripts of a folder and the package, for the names of options."""
    paths = [*folder.glob('*.py'), *ROOT.glob('amd_mm/**/*.py')]
    return ''.join(path.read_text() for path in paths)


@each_page
def test_files_named_exist(page: Path) -> None:
    pattern = r'(?<![\w/.:-])(?:tools|configs|docs|tests|amd_mm)/[\w./-]*\w(?![\w/]*[*<{…A-Z])'
    named = set(re.findall(pattern, page.read_text()))
    named |= set(re.findall(r'\b(?:amd|dmae|mae|tinymim|videomae)_[\w-]+\.py\b', page.read_text()))
    names = {
        path.name for folder in ('configs', 'tools') for path in ROOT.glob(f'{folder}/**/*.py')
    }
    named -= IN_MMACTION2
    assert not {
        name
        for name in named
        if not ((ROOT / name).exists() or name in names or re.search('[A-Z]{4}', name))
    }


@each_page
def test_commands_are_valid(page: Path) -> None:
    """Tools know the options, and configs have the keys, that a command gives them."""
    for command in commands(page):
        scripts = [word for word in command if re.fullmatch(r'tools/[\w/]+\.(py|sh)', word)]
        if not scripts:
            continue
        # The launchers pass their arguments to the program in their name.
        name = re.sub(r'(dist|slurm)_(\w+)\.sh', r'\2.py', scripts[0])
        name = {'tools/quickstart.sh': 'tools/quickstart/quickstart.py'}.get(name, name)
        text = (ROOT / name).read_text() + sources((ROOT / name).parent)
        arguments = command[command.index(scripts[0]) :]
        for option in (word for word in arguments if word.startswith('--')):
            assert option == '--help' or option in text, (command, option)
        configs = [word for word in command if (ROOT / word).is_file() and 'configs/' in word]
        if '--cfg-options' in command and configs:
            check_keys(configs[0], command[command.index('--cfg-options') + 1 :])


def check_keys(config: str, options: list[str]) -> None:
    """Check that a config has the keys of some options; the last part may be new."""
    cfg = Config.fromfile(ROOT / config)
    for option in options:
        if '=' in option:
            node = cfg
            for part in option.split('=')[0].split('.')[:-1]:
                node = node[int(part) if part.isdigit() else part]
            assert isinstance(node, dict), option
