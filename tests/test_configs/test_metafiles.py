"""The metafiles and the folders' tables list what there is."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ALGORITHMS = sorted(path.parent.name for path in (ROOT / 'configs').glob('*/metafile.yml'))
# Described in the README as a whole.
UNLISTED = ('ablation', 'probe')


def published(algorithm):
    return {
        str(path.relative_to(ROOT))
        for path in (ROOT / 'configs' / algorithm).rglob('*.py')
        if path.parent.name not in UNLISTED
    }


def test_the_main_algorithms_have_metafiles():
    assert {'amd', 'videomae'} <= set(ALGORITHMS)


@pytest.mark.parametrize('algorithm', ALGORITHMS)
def test_metafile_lists_every_config(algorithm):
    path = ROOT / 'configs' / algorithm / 'metafile.yml'
    meta = yaml.safe_load(path.read_text())
    listed = {model['Config'] for model in meta['Models']}
    assert listed == published(algorithm) and listed
    for model in meta['Models']:
        assert model['Name'] == Path(model['Config']).stem
        assert model['In Collection'] == meta['Collections'][0]['Name']
    assert (ROOT / meta['Collections'][0]['README']).is_file()


@pytest.mark.parametrize('algorithm', ALGORITHMS)
def test_readme_links_every_config(algorithm):
    folder = ROOT / 'configs' / algorithm
    links = re.findall(r'\]\(([^)#]+)\)', (folder / 'README.md').read_text())
    local = {link for link in links if '://' not in link}
    for link in local:
        assert (folder / link).exists(), link
    configs = {str((folder / link).relative_to(ROOT)) for link in local if link.endswith('.py')}
    assert configs == published(algorithm)


def test_model_index_imports_every_metafile():
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    found = {str(path.relative_to(ROOT)) for path in (ROOT / 'configs').glob('*/metafile.yml')}
    assert set(index['Import']) == found
