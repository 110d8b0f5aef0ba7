"""MkDocs hooks: the site takes pages, and the files that they link, from the whole repository."""

import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

_PAGES = ('*.md', 'docs/**/*.md', 'configs/**/*.md', 'tools/**/*.md')
_LINK = re.compile(r'(\]\()([^)\s#:]+)(#[^)\s]*)?(\))')
_CODE = re.compile(r'```.*?```|`[^`\n]*`', re.S)


def find_pages(root: Path) -> Iterator[Path]:
    """List all pages, relative to the repository."""
    for pattern in _PAGES:
        for path in sorted(root.glob(pattern)):
            yield path.relative_to(root)


def linked(root: Path, page: Path) -> Iterator[str]:
    """List the files that a page links, relative to the repository."""
    text = _CODE.sub('', (root / page).read_text(encoding='utf-8'))
    for match in _LINK.finditer(text):
        target = (root / page).parent / match[2]
        if target.is_file() and target.suffix != '.md':
            yield target.resolve().relative_to(root.resolve()).as_posix()


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Replace the files of ``docs_dir`` by those of the repository."""
    root = Path(config.config_file_path).parent
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
    """Complete links to a folder: they lead to its README.md."""
    folder = (Path(config.config_file_path).parent / page.file.src_uri).parent

    def complete(match: re.Match) -> str:
        start, target, anchor, end = match.groups()
        if (folder / target / 'README.md').is_file():
            target = f'{target.rstrip("/")}/README.md'
        return f'{start}{target}{anchor or ""}{end}'

    return _LINK.sub(complete, markdown)
