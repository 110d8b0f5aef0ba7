"""Files: safe to read, and clear when they cannot be."""

import argparse
import json
import os
import pickle
import zlib

import numpy as np
import pytest
import torch
from amd_mm.checkpoints import CheckpointReadError, read_checkpoint
from mmengine.logging import HistoryBuffer
from mmengine.runner.checkpoint import CheckpointLoader
from safetensors.torch import save_file
from torch.torch_version import TorchVersion

WEIGHTS = {'blocks.0.weight': torch.arange(6.0), 'head': torch.ones(2, 3)}


@pytest.fixture(params=['installed', '2.1.2'])
def version(request, monkeypatch):
    """PyTorch as it is, and with the default and the lacks of 2.1."""
    if request.param == 'installed':
        return
    load = torch.load

    def unsafe_by_default(file, map_location=None, **options):
        return load(file, map_location, **{'weights_only': False, **options})

    def has_none(*readers):
        raise AttributeError('PyTorch 2.1 has no list of safe globals')

    monkeypatch.setattr(torch, 'load', unsafe_by_default)
    for name in ('add', 'clear', 'get'):
        monkeypatch.setattr(
            torch.serialization,
            f'{name}_safe_globals',
            has_none,
            raising=False,  # PyTorch may be that old
        )
    monkeypatch.setattr(torch, '__version__', TorchVersion(request.param))


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def save(content, path, **kwargs):
    torch.save(content, path, **kwargs)
    return path


def assert_weights(state):
    assert set(state) == set(WEIGHTS)
    for name in WEIGHTS:
        assert torch.equal(state[name], WEIGHTS[name])


@pytest.mark.parametrize('zipped', [True, False])
def test_a_namespace_needs_no_unsafe_loading(tmp_path, version, zipped):
    """The public VideoMAE and AMD programs save their arguments."""
    args = argparse.Namespace(model='vit', opt_betas=[0.9, 0.95], nested=argparse.Namespace(a=1))
    path = save(
        dict(model=WEIGHTS, epoch=799, args=args),
        tmp_path / 'a.pth',
        _use_new_zipfile_serialization=zipped,
    )
    checkpoint = read_checkpoint(path)
    assert_weights(checkpoint['model'])
    assert checkpoint['args'].opt_betas == [0.9, 0.95]
    # For that one read only.
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)


def test_log_histories_of_mmengine_need_no_unsafe_loading(tmp_path, version):
    history = HistoryBuffer([3.0, 2.0], [1, 1])
    path = save(
        dict(
            state_dict=WEIGHTS,
            meta=dict(epoch=3, best=np.float64(0.5)),
            message_hub=dict(log_scalars={'train/loss': history}),
        ),
        tmp_path / 'epoch_3.pth',
    )
    checkpoint = read_checkpoint(path)
    assert_weights(checkpoint['state_dict'])
    curve = checkpoint['message_hub']['log_scalars']['train/loss']
    assert curve.current() == 2.0


@pytest.mark.parametrize('zipped', [True, False])
def test_code_in_a_file_is_not_run(tmp_path, version, zipped):
    trace = tmp_path / 'trace'
    path = save(
        dict(model=WEIGHTS, extra=Evil(f'touch {trace}')),
        tmp_path / 'evil.pth',
        _use_new_zipfile_serialization=zipped,
    )
    with pytest.raises(CheckpointReadError) as error:
        read_checkpoint(path)
    assert not trace.exists()
    text = str(error.value)
    assert 'posix.system' in text or 'nt.system' in text
    assert 'evil.pth' in text and '--unsafe' in text


@pytest.mark.parametrize('address', ['{}/evil.pth', 'https://x.org/evil.pth'])
def test_mmengine_runs_no_code_either(tmp_path, version, cache, address):
    """Of `load_from`, `tools/test.py CHECKPOINT` and `init_cfg`."""
    trace = tmp_path / 'trace'
    cache.mkdir(parents=True)
    for folder in (cache, tmp_path):  # as if it had been downloaded
        save(dict(state_dict=WEIGHTS, extra=Evil(f'touch {trace}')), folder / 'evil.pth')
    torch_load = torch.load
    with pytest.raises(pickle.UnpicklingError, match='Weights only load'):
        CheckpointLoader.load_checkpoint(address.format(tmp_path))
    assert not trace.exists()
    assert torch.load is torch_load


def test_mmengine_reads_its_own(tmp_path, version):
    history = HistoryBuffer([3.0, 2.0], [1, 1])
    best = np.float64(0.5)
    content = dict(state_dict=WEIGHTS, hub=dict(loss=history), best=best)
    path = save(content, tmp_path / 'epoch_3.pth')
    checkpoint = CheckpointLoader.load_checkpoint(str(path))
    assert_weights(checkpoint['state_dict'])
    assert type(checkpoint['hub']['loss']) is HistoryBuffer
    assert checkpoint['hub']['loss'].statistics('max') == 3.0
    assert checkpoint['best'] == best


def test_who_switches_safe_loading_off_gets_it(tmp_path, version, monkeypatch):
    monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')
    path = save(dict(model=WEIGHTS, extra=Harmless()), tmp_path / 'h.pth')
    checkpoint = CheckpointLoader.load_checkpoint(str(path))
    assert isinstance(checkpoint['extra'], Harmless)


def test_getattr_is_no_way_out(tmp_path, version):
    """What log histories need must not reach anything else."""

    class Getattr:
        def __reduce__(self):
            return getattr, (argparse.Namespace, '__init__')

    path = save(dict(model=WEIGHTS, extra=Getattr()), tmp_path / 'g.pth')
    with pytest.raises(CheckpointReadError, match='--unsafe'):
        read_checkpoint(path)


class Harmless:
    """Not known to anybody, does nothing."""


def test_unsafe_is_a_choice(tmp_path, version):
    path = save(dict(model=WEIGHTS, extra=Harmless()), tmp_path / 'h.pth')
    with pytest.raises(CheckpointReadError, match='test_reading.Harmless'):
        read_checkpoint(path)
    assert_weights(read_checkpoint(path, unsafe=True)['model'])


def test_safetensors_by_suffix_and_by_content(tmp_path):
    for name in ('model.safetensors', 'blob'):
        save_file(WEIGHTS, tmp_path / name)
        assert_weights(read_checkpoint(tmp_path / name))


def test_hugging_face_folders(tmp_path):
    (tmp_path / 'config.json').write_text('{"model_type": "videomae"}')
    with pytest.raises(CheckpointReadError, match='without weights.*config'):
        read_checkpoint(tmp_path)
    save(WEIGHTS, tmp_path / 'pytorch_model.bin')
    assert_weights(read_checkpoint(str(tmp_path)))
    save_file({'other': torch.ones(1)}, tmp_path / 'model.safetensors')
    assert set(read_checkpoint(tmp_path)) == {'other'}


def test_hugging_face_folder_in_parts(tmp_path):
    parts = {name: f'part-{i}.safetensors' for i, name in enumerate(WEIGHTS)}
    for name, file in parts.items():
        save_file({name: WEIGHTS[name]}, tmp_path / file)
    (tmp_path / 'model.safetensors.index.json').write_text(json.dumps(dict(weight_map=parts)))
    assert_weights(read_checkpoint(tmp_path))
    (tmp_path / 'model.safetensors.index.json').write_text('<html>')
    with pytest.raises(CheckpointReadError, match='no index of weights'):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize('kind', ['zip', 'legacy', 'safetensors'])
@pytest.mark.parametrize('share', [0.02, 0.5, 0.99])
def test_truncated_files(tmp_path, kind, share):
    state = {'weight': torch.randn(5000)}
    path = tmp_path / 'cut.pth'
    if kind == 'safetensors':
        save_file(state, path)
    else:
        save(state, path, _use_new_zipfile_serialization=kind == 'zip')
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CheckpointReadError, match='cut short') as error:
        read_checkpoint(path)
    assert 'cut.pth' in str(error.value)


@pytest.mark.parametrize(
    'content, said',
    [
        (b'', 'is empty'),
        (b'version https://git-lfs.github.com/spec/v1\noid sha256:4d7', 'git lfs'),
        (b'<!DOCTYPE html><html>login</html>', 'web page'),
        (b'\n<html>429</html>', 'web page'),
        (b'{"error": "not found"}', 'JSON'),
        (b'\x1f\x8b\x08\x00abc', 'gzip'),
        (b'hello, world. this is text', 'no checkpoint'),
        (zlib.compress(b'x' * 100), 'no checkpoint'),
    ],
)
def test_things_that_are_no_checkpoints(tmp_path, content, said):
    path = tmp_path / 'teacher.pth'
    path.write_bytes(content)
    with pytest.raises(CheckpointReadError, match=said) as error:
        read_checkpoint(path)
    assert 'teacher.pth' in str(error.value)


def test_a_file_without_a_dictionary(tmp_path):
    path = save([torch.ones(2)], tmp_path / 'list.pth')
    with pytest.raises(CheckpointReadError, match='holds a list'):
        read_checkpoint(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(CheckpointReadError, match='no file .*gone.pth'):
        read_checkpoint(tmp_path / 'gone.pth')


def test_other_file_backends(tmp_path):
    from mmengine.fileio import BaseStorageBackend, register_backend
    from mmengine.fileio.backends import backends, prefix_to_backends

    path = save(WEIGHTS, tmp_path / 'a.pth')

    class Shelf(BaseStorageBackend):
        def get(self, filepath):
            if 'gone' in filepath:
                raise KeyError(filepath)
            return path.read_bytes()

        def get_text(self, filepath):
            raise NotImplementedError

    register_backend('shelf', Shelf, prefixes='shelf')
    try:
        assert_weights(read_checkpoint('shelf://a.pth'))
        with pytest.raises(CheckpointReadError, match='shelf://gone'):
            read_checkpoint('shelf://gone.pth')
    finally:
        backends.pop('shelf')
        prefix_to_backends.pop('shelf')


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    return tmp_path / 'hub' / 'checkpoints'


def test_an_address_is_downloaded_once(tmp_path, cache, monkeypatch):
    source = save(WEIGHTS, tmp_path / 'a.pth')
    calls = []

    def download(address, target, progress):
        calls.append(address)
        with open(target, 'wb') as stream:
            stream.write(source.read_bytes())

    monkeypatch.setattr(torch.hub, 'download_url_to_file', download)
    for owner in ('one', 'two', 'one'):
        assert_weights(read_checkpoint(f'https://x.org/{owner}/pytorch_model.bin?raw=1'))
    # Same file name, two addresses: two files.
    assert len(calls) == len(set(calls)) == len(os.listdir(cache)) == 2


def test_a_failed_download(cache, monkeypatch):

    def download(address, target, progress):
        raise OSError('no route to host')

    monkeypatch.setattr(torch.hub, 'download_url_to_file', download)
    with pytest.raises(CheckpointReadError, match='no route.*other means'):
        read_checkpoint('https://x.org/a.pth')
