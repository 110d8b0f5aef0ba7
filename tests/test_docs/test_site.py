"""The site builds without dead links."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_the_site_builds_and_no_internal_link_is_dead(tmp_path):
    for package in ('mkdocstrings', 'material'):
        pytest.importorskip(package, reason=f'mkdocs or {package} is not installed')
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    config = load_config(str(ROOT / 'mkdocs.yml'), site_dir=str(tmp_path), strict=True)
    build(config)  # strict: a warning, as of a dead link, is an error
    assert 'Asymmetric Masked Distillation' in (tmp_path / 'index.html').read_text()
    api = (tmp_path / 'docs' / 'api' / 'models' / 'index.html').read_text()
    assert 'amd_mm.models.AMD' in api
    assert 'layer_pairs' in api
    assert 'href="#amd_mm.models.FrozenTeacher"' in api  # a role of a docstring
