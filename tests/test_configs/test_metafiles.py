"""Metafiles and pages list the configs that exist."""

import re
from pathlib import Path

import pytest
import yaml

from .shrink import CONFIGS, REPOSITORY, all_configs
from .variants import VARIANTS

ALGORITHMS = sorted(path.parent.name for path in CONFIGS.glob('*/metafile.yml'))


def linked(page: Path) -> set[Path]:
    """Configs that a page links."""
    links = re.findall(r'\]\(([^)#]+\.py)\)', page.read_text())
    return {(page.parent / link).resolve() for link in links if '://' not in link}


def test_basenames_are_unique():
    names = [path.name for path in all_configs()]
    assert len(names) == len(set(names)) > 60, 'mim finds configs by their basename'


def test_pages_link_every_config():
    found = set().union(*(linked(page) for page in CONFIGS.rglob('README.md')))
    assert found == set(all_configs())


@pytest.mark.parametrize('algorithm', ALGORITHMS)
def test_metafile_lists_every_config(algorithm):
    folder = CONFIGS / algorithm
    meta = yaml.safe_load((folder / 'metafile.yml').read_text())
    (collection,) = meta['Collections']
    assert (REPOSITORY / collection['README']).is_file()
    page = (folder / 'README.md').read_text()
    for model in meta['Models']:
        assert model['Name'] == Path(model['Config']).stem
        assert model['In Collection'] == collection['Name']
        if result := model['Metadata'].get('Paper'):
            assert re.search(rf'\b{re.escape(result.split()[1])}\b', page), model['Name']
    expected = {
        path.relative_to(REPOSITORY).as_posix()
        for path in all_configs()
        if path.is_relative_to(folder) and path.parent.name not in ('ablation', 'probe')
    }
    assert {model['Config'] for model in meta['Models']} == expected


def test_model_index_imports_every_metafile():
    index = yaml.safe_load((REPOSITORY / 'model-index.yml').read_text())
    assert set(index['Import']) == {f'configs/{name}/metafile.yml' for name in ALGORITHMS}


def test_variants_are_read_from_the_pages():
    """By the number of rows with options, below the variants' headings."""
    rows = sum(
        len(re.findall(r"^\| [^|]+ \| `'?(?:model|train_\w+)\.[^|]*` \|", page.read_text(), re.M))
        for page in CONFIGS.glob('*/README.md')
    )
    assert len(VARIANTS) == rows > 50
