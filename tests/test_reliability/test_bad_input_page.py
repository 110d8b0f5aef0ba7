"""docs/troubleshooting.md quotes what the package prints, and names what is."""

import ast
import re
from collections.abc import Iterator
from functools import cache

import pytest

from tests.test_configs.shrink import REPOSITORY

PAGE = REPOSITORY / 'docs/troubleshooting.md'
TEXT = PAGE.read_text()
QUOTES = [
    line
    for block in re.findall(r'```text\n(.*?)```', TEXT, re.DOTALL)
    for line in block.splitlines()
]
HOLE = '\0'  # what a message has in place of `…`


@cache
def messages() -> list[str]:
    """All strings of the package and the tools."""
    return [
        message
        for folder in ('amd_mm', 'tools')
        for path in (REPOSITORY / folder).rglob('*.py')
        for message in strings(ast.parse(path.read_text()))
    ]


def strings(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield ''.join(
                part.value if isinstance(part, ast.Constant) else HOLE for part in node.values
            )


def is_printed(quote: str) -> bool:
    """Whether a quote is part of a message, with `…` where that has holes."""
    parts = (re.escape(part) for part in quote.split('…'))
    pattern = re.compile(f'(?s:.*?{HOLE}.*?)'.join(parts))
    return any(pattern.search(message) for message in messages())


@pytest.mark.parametrize('quote', QUOTES)
def test_messages_are_those_of_the_package(quote):
    assert is_printed(quote)


def test_a_message_that_nobody_prints_is_found():
    assert len(QUOTES) > 50
    assert not is_printed('this is printed by nobody')
    # A word in place of a number.
    assert not is_printed('has no GPU: there are two')


@pytest.mark.parametrize('path', sorted(set(re.findall(r'(?:tools|configs)/[\w/.-]*\w', TEXT))))
def test_files_named_are_there(path):
    assert (REPOSITORY / path).exists()


@pytest.mark.parametrize('target', sorted(set(re.findall(r'\]\(([^)#]+)', TEXT))))
def test_links_lead_somewhere(target):
    assert (PAGE.parent / target).exists()


def test_sections_linked_at_the_top_are_there():
    headings = {
        re.sub(r'[^\w -]', '', line.lstrip('# ').lower()).replace(' ', '-')
        for line in TEXT.splitlines()
        if line.startswith('#')
    }
    linked = set(re.findall(r'\]\(#([^)]+)\)', TEXT))
    assert linked and linked <= headings


def test_options_named_are_known():
    """Commands of tools take the options that the page gives them."""
    shared = (REPOSITORY / 'amd_mm/engine/launch.py').read_text()
    named = re.findall(r'(tools/[\w/]+\.(?:py|sh))[^`\n|]*?(--[a-z-]+)', TEXT)
    assert named
    for tool, option in named:
        if tool == 'tools/slurm_train.sh':
            tool = 'tools/train.py'
        known = (REPOSITORY / tool).read_text() + shared
        assert option in known or option == '--help', (tool, option)
