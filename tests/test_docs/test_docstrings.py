"""What the API's docstrings must say: arguments, shapes, errors, sources."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / 'amd_mm'
Function = ast.FunctionDef | ast.AsyncFunctionDef

# Rooms in which a class computes what a paper describes.
FROM_PAPERS = ('algorithms', 'losses', 'mask_generators', 'necks')
SOURCE = re.compile(r'section|equation|arXiv|CVPR|NeurIPS|table S?\d', re.I)
SHAPE = re.compile(r"\((?:[\w' *+/.-]+,)+[\w' *+/.-]*\)|[Ss]calar|\bshape")
# What gives nothing: also a context manager that yields nothing.
NOTHING = ('None', 'NoReturn', 'Iterator[None]')
# MMEngine's points to hook in, and PyTorch's: their arguments are known.
WELL_KNOWN = re.compile(r'(before|after)_|train$|extra_repr$|process$')


class Entry(NamedTuple):
    """A public function, method or class of the API."""

    name: str
    path: Path
    node: Function | ast.ClassDef
    owner: ast.ClassDef | None = None

    @property
    def doc(self) -> str:
        return ast.get_docstring(self.node) or ''

    @property
    def all_docs(self) -> str:
        owner = ast.get_docstring(self.owner) if self.owner else None
        return f'{self.doc}\n{owner or ""}'


def exported(folder: Path) -> set[str]:
    """The names in ``__all__`` of a package and of the packages in it."""
    names = set()
    for path in folder.rglob('__init__.py'):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Assign) and any(
                isinstance(target, ast.Name) and target.id == '__all__' for target in node.targets
            ):
                names |= set(ast.literal_eval(node.value))
    return names


def is_public(node: ast.AST) -> bool:
    return not node.name.startswith('_')


def entries() -> Iterator[Entry]:
    names = exported(PACKAGE)
    for path in sorted(PACKAGE.rglob('[!_]*.py')):
        if '.mim' in path.parts:
            continue
        for node in ast.parse(path.read_text()).body:
            if not isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                continue
            if node.name not in names:
                continue
            where = f'{path.relative_to(PACKAGE)}:{node.name}'
            yield Entry(where, path, node)
            if isinstance(node, ast.ClassDef):
                for part in node.body:
                    if isinstance(part, ast.FunctionDef) and is_public(part):
                        yield Entry(f'{where}.{part.name}', path, part, node)


def sections(doc: str) -> dict[str, str]:
    """Text by section of a Google docstring."""
    found, name = {'': ''}, ''
    for line in doc.splitlines():
        head = re.match(r'([A-Z][a-z]+):$', line)
        if head:
            name = head[1]
            found[name] = ''
        elif line and not line.startswith(' ') and name:
            name = ''
        else:
            found[name] += line + '\n'
    return found


def arguments(node: Function) -> list[ast.arg]:
    given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return [one for one in given if one.arg not in ('self', 'cls')]


def described(doc: str) -> dict[str, str]:
    """Text of each argument."""
    text = sections(doc).get('Args', '')
    found, name = {}, ''
    for line in text.splitlines():
        head = re.match(r'    \**(\w+)(?: \(.*?\))?:', line)
        if head:
            name = head[1]
            found[name] = ''
        if name:
            found[name] += ' ' + line.strip()
    return found


def constructor(node: ast.ClassDef) -> Function | None:
    for part in node.body:
        if isinstance(part, ast.FunctionDef) and part.name == '__init__':
            return part
    return None


def raised(node: Function) -> set[str]:
    """Names of the errors that a function itself raises.

    Not those that another function makes (``raise mismatch(...)``): its name
    is not the error's.
    """
    found = set()
    for part in ast.walk(node):
        if isinstance(part, ast.Raise) and isinstance(part.exc, ast.Call):
            error = part.exc.func
            found.add(getattr(error, 'id', getattr(error, 'attr', '')))
    classes = {name for name in found if name[:1].isupper()}
    return classes - {'NotImplementedError'}


def problems(entry: Entry) -> Iterator[str]:
    node = entry.node
    if not entry.doc:
        yield 'has no docstring'
        return
    if re.fullmatch(r'See :\w+:`[\w.]+`\.', entry.doc):  # said there
        return
    function = constructor(node) if isinstance(node, ast.ClassDef) else node
    if function is None:
        return
    known = described(entry.doc)
    lacking = [one.arg for one in arguments(function) if one.arg not in known]
    brief = len(lacking) == 1 and not known  # said in the sentence
    if lacking and not brief and not WELL_KNOWN.match(node.name):
        yield f'Args lack {", ".join(lacking)}'
    for one in arguments(function):
        kind = ast.unparse(one.annotation) if one.annotation else ''
        is_tensor = re.search(r'(?<!str, )Tensor', kind)
        said = known.get(one.arg)
        if is_tensor and said and not SHAPE.search(said):
            yield f'no shape is given for {one.arg}'
    missing = raised(function) - {name for name in raised(function) if name in entry.all_docs}
    if missing:
        yield f'Raises lacks {", ".join(sorted(missing))}'
    if isinstance(node, ast.FunctionDef):
        yield from problems_of_results(entry, node)


def problems_of_results(entry: Entry, node: Function) -> Iterator[str]:
    kind = ast.unparse(node.returns) if node.returns else 'None'
    if kind in NOTHING or node.name.startswith('__'):
        return
    short = len(entry.doc.splitlines()) == 1  # it says what it returns
    parts = sections(entry.doc)
    text = parts.get('Returns') or parts.get('Yields')
    if not short and text is None and described(entry.doc):
        yield 'has no Returns'
    if kind == 'Tensor' and not SHAPE.search(text or entry.doc):
        yield 'no shape is given for what it returns'


ALL = list(entries())


def test_the_api_is_found():
    names = {entry.node.name for entry in ALL}
    assert {'AMD', 'TinyMIM', 'VideoListDataset', 'MaskedAutoencoder'} <= names


@pytest.mark.parametrize('room', sorted({e.path.parent.name for e in ALL}))
def test_docstrings_are_complete(room):
    found = [
        f'{entry.name} {problem}'
        for entry in ALL
        if entry.path.parent.name == room
        for problem in problems(entry)
    ]
    assert not found, '\n'.join(found)


def test_classes_of_papers_name_their_source():
    lacking = [
        entry.name
        for entry in ALL
        if isinstance(entry.node, ast.ClassDef)
        and entry.path.parent.name in FROM_PAPERS
        and not SOURCE.search(
            entry.doc + (ast.get_docstring(ast.parse(entry.path.read_text())) or '')
        )
    ]
    assert not lacking, lacking


def test_the_checks_can_fail():
    source = (
        'class Bad:\n'
        '    def __init__(self, width): pass\n'
        '    def f(self, x: Tensor) -> Tensor:\n'
        '        """Do.\n\n        Args:\n            x (Tensor): It.\n'
        '        """\n'
        '        raise ValueError("no")\n'
    )
    node = ast.parse(source).body[0]
    path = Path('bad.py')
    assert list(problems(Entry('Bad', path, node))) == ['has no docstring']
    found = list(problems(Entry('Bad.f', path, node.body[1], node)))
    assert found == [
        'no shape is given for x',
        'Raises lacks ValueError',
        'has no Returns',
        'no shape is given for what it returns',
    ]


def test_the_checks_ask_for_nothing_that_is_not_there():
    source = (
        'def f(x: int) -> Iterator[None]:\n'
        '    """Do.\n\n    Args:\n        x (int): It.\n    """\n'
        '    raise make_error(x)\n'
    )
    node = ast.parse(source).body[0]
    assert not list(problems(Entry('f', Path('good.py'), node)))
