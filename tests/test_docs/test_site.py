"""The site builds without dead links, and the table of configs is up to date."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def load(name):
    path = ROOT / 'docs' / f'{name}.py'
    spec = importlib.util.spec_from_file_location(f'docs_{name}', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def table():
    return load('config_table')


def test_the_table_of_configs_is_up_to_date(table):
    assert table.make_page() == table.PAGE.read_text(encoding='utf-8'), (
        'run python docs/config_table.py'
    )


def test_the_table_has_every_config(table):
    links = re.findall(r'\]\((\S+\.py)\)', table.PAGE.read_text())
    configs = [
        path.relative_to(table.PAGE.parent).as_posix()
        for path in table.PAGE.parent.rglob('*.py')
        if '_base_' not in path.parts
    ]
    assert sorted(links) == sorted(configs)


def test_the_site_builds_and_no_internal_link_is_dead(tmp_path):
    pytest.importorskip('mkdocstrings', reason='mkdocs is not installed')
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    config = load_config(str(ROOT / 'mkdocs.yml'), site_dir=str(tmp_path), strict=True)
    build(config)  # strict: a warning, as of a dead link, is an error
    assert 'Asymmetric Masked Distillation' in (tmp_path / 'index.html').read_text()
    api = (tmp_path / 'docs' / 'api' / 'models' / 'index.html').read_text()
    assert 'amd_mm.models.AMD' in api
    assert 'layer_pairs' in api
