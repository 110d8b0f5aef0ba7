"""Public weights: one table for code and page, fetched once, checked, with a way without network."""

import hashlib
import sys
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import amd_mm
import pytest
import torch
from amd_mm import zoo
from amd_mm.errors import CheckpointError
from amd_mm.zoo import WEIGHTS, Weights, fetch
from mmengine.config import Config

PAGE = Path(__file__).resolve().parents[1] / 'docs/model_zoo.md'


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        self.server.requests.append(self.path)


@pytest.fixture
def server(tmp_path, monkeypatch) -> Iterator[ThreadingHTTPServer]:
    """Serves tmp_path/www; torch's cache is tmp_path/hub."""
    (tmp_path / 'www').mkdir()
    handler = partial(_Quiet, directory=str(tmp_path / 'www'))
    server = ThreadingHTTPServer(('127.0.0.1', 0), handler)
    server.requests = []
    server.address = f'http://127.0.0.1:{server.server_port}'
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    monkeypatch.setitem(sys.modules, 'huggingface_hub', None)  # as if it were not installed
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_page_and_the_code_have_one_table():
    text = PAGE.read_text()
    for role, video in (('teacher', True), ('recogniser', True), ('teacher', False)):
        chosen = [one for one in WEIGHTS if one.role == role and (one.frames > 1) == video]
        assert zoo.as_markdown(chosen) in text
    names = [one.name for one in WEIGHTS]
    assert amd_mm.list_models() == names and len(set(names)) == len(names)
    assert set(amd_mm.list_models('recogniser')) < set(names)
    for one in WEIGHTS:
        assert zoo.find(one.source) is one and one.sha256 in one.source


def test_configs_are_listed_by_names_that_a_config_can_derive_from(tmp_path):
    names = amd_mm.list_configs('quickstart')
    assert names and all(name.startswith('quickstart/') for name in names)
    assert set(names) < set(amd_mm.list_configs())
    (tmp_path / 'mine.py').write_text(f"_base_ = 'amd_mm::{names[0]}'")
    if (Path(amd_mm.__file__).parent / '.mim').is_dir():
        assert Config.fromfile(tmp_path / 'mine.py').model


def test_files_are_downloaded_once_and_checked(server, tmp_path, monkeypatch, capsys):
    content = b'weights'
    (tmp_path / 'www/vit.pth').write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    good = Weights('mine', 'vit-base', 16, 'x', f'{server.address}/vit.pth', sha256=digest[:8])
    bad = Weights('changed', 'vit-base', 16, 'x', f'{server.address}/vit.pth?v=2', sha256='0' * 8)
    free = Weights('free', 'vit-base', 16, 'x', f'{server.address}/vit.pth?v=3', 'Apache-2.0')
    monkeypatch.setattr(zoo, 'WEIGHTS', (good, bad, free))
    paths = [fetch(name) for name in ('mine', good.source, 'mine')]
    assert len(set(paths)) == len(server.requests) == 1
    assert Path(paths[0]).read_bytes() == content
    assert 'CC-BY-NC-4.0' in capsys.readouterr().out
    fetch('free')
    assert 'licence' not in capsys.readouterr().out
    with pytest.raises(CheckpointError, match='invalid hash.*by other means to .*hub'):
        fetch('changed')


def test_a_repository_without_huggingface_hub(server, tmp_path, monkeypatch):
    monkeypatch.setenv('HF_ENDPOINT', server.address)
    folder = tmp_path / 'www/some/vit/resolve/main'
    folder.mkdir(parents=True)
    (folder / 'pytorch_model.bin').write_bytes(b'weights')
    (folder / 'config.json').write_text('{}')
    found = Path(fetch('some/vit'))
    assert sorted(path.name for path in found.iterdir()) == ['config.json', 'pytorch_model.bin']
    with pytest.raises(CheckpointError, match=r'no file or folder other/vit.*404.*give the path'):
        fetch('other/vit')


def test_a_repository_in_the_local_hub_folder(tmp_path, monkeypatch):
    """The layout of huggingface_hub's cache, read without a network."""
    hub = pytest.importorskip('huggingface_hub', reason='huggingface_hub is not installed')
    monkeypatch.setattr(hub.constants, 'HF_HUB_CACHE', str(tmp_path))
    monkeypatch.setattr(hub.constants, 'HF_HUB_OFFLINE', True)
    folder = tmp_path / 'models--some--vit'
    snapshot = folder / 'snapshots' / ('0' * 40)
    snapshot.mkdir(parents=True)
    (folder / 'refs').mkdir()
    (folder / 'refs/main').write_text('0' * 40)
    (snapshot / 'model.safetensors').write_bytes(b'weights')
    assert Path(fetch('some/vit')) == snapshot
    with pytest.raises(CheckpointError, match='other/vit cannot be read.*by other means'):
        fetch('other/vit')


def test_local_paths_and_unknown_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'runs/mine').mkdir(parents=True)
    assert fetch('runs/mine') == 'runs/mine'  # not a repository
    with pytest.raises(CheckpointError, match='no file or folder videomae-bse.*videomae-base'):
        fetch('videomae-bse')
    with pytest.raises(CheckpointError, match='no file or folder runs/gone.pth'):
        fetch('runs/gone.pth')  # a file, not a repository
