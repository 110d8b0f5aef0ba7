"""Hooks of MkDocs: pages stay where they are read in the repository.

A page lies beside what it describes (``configs/amd/README.md``), and its links
are relative, to other pages, folders, configs and scripts. The site takes the
pages from there and carries the files that they link.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

_PAGES = ('*.md', 'docs/**/*.md', 'configs/**/*.md', 'tools/**/*.md')
_LINK = re.compile(r'(\]\()([^)\s#:]+)(#[^)\s]*)?(\))')
_CODE = re.compile(r'```.*?```|`[^`\n]*`', re.S)


def root_of(config: MkDocsConfig) -> Path:
    """The folder of mkdocs.yml."""
    return Path(config.config_file_path).parent


def find_pages(root: Path) -> Iterator[Path]:
    """All pages, relative to the repository."""
    for pattern in _PAGES:
        for path in sorted(root.glob(pattern)):
            yield path.relative_to(root)


def linked(root: Path, page: Path) -> Iterator[str]:
    """Files in the repository that a page links, relative to its root."""
    text = _CODE.sub('', (root / page).read_text(encoding='utf-8'))
    for match in _LINK.finditer(text):
        target = (root / page).parent / match[2]
        if target.is_file() and target.suffix != '.md':
            yield target.resolve().relative_to(root.resolve()).as_posix()


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Take pages and what they link from the whole repository."""
    root = root_of(config)
    pages = list(find_pages(root))
    names = {page.as_posix() for page in pages}
    for page in pages:
        names.update(linked(root, page))
    docs = Path(config.docs_dir)
    theme = [file for file in files if Path(file.src_dir or '') != docs]
    own = [
        File(name, str(root), config.site_dir, config.use_directory_urls) for name in sorted(names)
    ]
    return Files(theme + own)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links to a folder lead to its page."""
    folder = (root_of(config) / page.file.src_uri).parent

    def complete(match: re.Match) -> str:
        start, target, anchor, end = match.groups()
        if (folder / target / 'README.md').is_file():
            target = f'{target.rstrip("/")}/README.md'
        return f'{start}{target}{anchor or ""}{end}'

    return _LINK.sub(complete, markdown)
