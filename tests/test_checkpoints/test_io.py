"""Files: safe to read, with a clear message if they cannot be read; written atomically."""

import argparse
import json
import os
import pickle
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from amd_mm.checkpoints import (
    CheckpointError,
    from_amd_mm,
    make_plain,
    read_checkpoint,
    restore_log_history,
    save_weights,
    to_amd_mm,
    unwrap,
)
from amd_mm.engine.hooks import StrictLoadHook  # noqa: F401  (registers the loader of MMEngine)
from mmengine.logging import MessageHub
from mmengine.runner.checkpoint import CheckpointLoader
from safetensors.torch import save_file

from ..golden import draw_state, load_golden

WEIGHTS = {'blocks.0.weight': torch.arange(6.0), 'head': torch.ones(2, 3)}


@pytest.fixture(params=['installed', '2.1'])
def version(request, monkeypatch):
    """PyTorch as it is, and with the unsafe default and without the allow list of 2.1."""
    if request.param == '2.1':
        load = torch.load

        def unsafe_by_default(file, map_location=None, **options):
            return load(file, map_location, **{'weights_only': False, **options})

        monkeypatch.setattr(torch, 'load', unsafe_by_default)
        monkeypatch.delattr(torch.serialization, 'safe_globals', raising=False)
    return request.param


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


class GetAttribute:
    """Calls ``getattr`` when it is unpickled, as MMEngine's log histories do."""

    def __reduce__(self):
        return getattr, (argparse.Namespace, '__init__')


class Harmless:
    """An unknown class that does nothing."""


def save(content, path, **kwargs):
    torch.save(content, path, **kwargs)
    return path


def assert_weights(state):
    assert set(state) == set(WEIGHTS)
    assert all(torch.equal(state[name], WEIGHTS[name]) for name in WEIGHTS)


@pytest.mark.parametrize('zipped', [True, False])
def test_arguments_beside_the_weights(tmp_path, version, zipped):
    """The public VideoMAE and AMD programs save a Namespace."""
    args = argparse.Namespace(model='vit', opt_betas=[0.9, 0.95], nested=argparse.Namespace(a=1))
    path = save(
        dict(model=WEIGHTS, epoch=799, args=args),
        tmp_path / 'a.pth',
        _use_new_zipfile_serialization=zipped,
    )
    if version == '2.1':
        with pytest.raises(CheckpointError, match='argparse.Namespace(.|\n)*--unsafe'):
            read_checkpoint(path)
    else:
        checkpoint = read_checkpoint(path)
        assert_weights(checkpoint['model'])
        assert checkpoint['args'].opt_betas == [0.9, 0.95]
    with pytest.raises(pickle.UnpicklingError):  # allowed for that one read only
        torch.load(path, weights_only=True)


@pytest.mark.parametrize('zipped', [True, False])
@pytest.mark.parametrize('loader', ['file', 'MMEngine, file', 'MMEngine, address'])
def test_code_in_a_file_is_not_run(tmp_path, version, monkeypatch, zipped, loader):
    """MMEngine's loader serves ``load_from``, ``--resume`` and ``init_cfg``."""
    path, mark = tmp_path / 'evil.pth', tmp_path / 'mark'
    content = dict(model=WEIGHTS, extra=Evil(f'touch {mark}'))
    save(content, path, _use_new_zipfile_serialization=zipped)
    monkeypatch.setattr('amd_mm.checkpoints.io.download', lambda address: str(path))
    load = read_checkpoint if loader == 'file' else CheckpointLoader.load_checkpoint
    with pytest.raises(CheckpointError, match=r'evil.pth (.|\n)*(posix|nt).system(.|\n)*--unsafe'):
        load('https://x.org/evil.pth' if 'address' in loader else str(path))
    assert not mark.exists()


@pytest.mark.parametrize('hostile', [GetAttribute(), Harmless(), np.array([None], dtype=object)])
def test_other_objects_are_refused_unless_trusted(tmp_path, version, hostile):
    path = save(dict(model=WEIGHTS, extra=hostile), tmp_path / 'h.pth')
    with pytest.raises(CheckpointError, match='--unsafe'):
        read_checkpoint(path)
    assert_weights(read_checkpoint(path, unsafe=True)['model'])


def test_a_stock_checkpoint_of_mmengine_can_be_made_plain(tmp_path, version):
    hub = MessageHub('plain')
    hub.update_scalar('loss', 3.0)
    hub.update_scalar('loss', 2.0)
    hub.update_info_dict(dict(epoch=2, best_score=np.float64(0.5), ids=[np.int64(3)]))
    hub.update_info('cfg', 'x', resumed=False)
    meta = dict(epoch=3, classes=np.array([1, 2]), pair=(np.bool_(True), {'a': np.float32(2)}))
    optimizer = dict(param_groups=[dict(lr=np.float64(0.1), params=[0])])
    content = dict(state_dict=WEIGHTS, meta=meta, message_hub=hub.state_dict(), optimizer=optimizer)
    path = save(content, tmp_path / 'epoch_3.pth')
    with pytest.raises(CheckpointError, match=f'{path} plain.pth --unsafe --keep-state'):
        read_checkpoint(path)
    save(make_plain(make_plain(read_checkpoint(path, unsafe=True))), path)  # twice is once
    plain = read_checkpoint(path)
    assert_weights(plain['state_dict'])
    assert plain['meta'] == dict(epoch=3, classes=[1, 2], pair=(True, {'a': 2.0}))
    assert plain['optimizer'] == dict(param_groups=[dict(lr=0.1, params=[0])])
    for _ in range(2):  # restoring twice changes nothing
        restore_log_history(plain)
    resumed = MessageHub('resumed')
    resumed.load_state_dict(plain['message_hub'])
    assert resumed.runtime_info == dict(epoch=2, best_score=0.5, ids=[3])
    for mine, theirs in zip(resumed.get_scalar('loss').data, hub.get_scalar('loss').data):
        assert np.array_equal(mine, theirs) and mine.dtype == theirs.dtype
    resumed.update_scalar('loss', 5.0)
    assert resumed.get_scalar('loss').mean(3) == pytest.approx(10 / 3)


def test_safetensors_by_suffix_and_by_content(tmp_path):
    for name in ('model.safetensors', 'blob'):
        save_file(WEIGHTS, tmp_path / name)
        assert_weights(read_checkpoint(tmp_path / name))


def test_hugging_face_folders(tmp_path):
    (tmp_path / 'config.json').write_text('{"model_type": "videomae"}')
    with pytest.raises(CheckpointError, match='without weights.*config'):
        read_checkpoint(tmp_path)
    save(WEIGHTS, tmp_path / 'pytorch_model.bin')
    assert_weights(read_checkpoint(str(tmp_path)))
    parts = {name: f'part-{i}.safetensors' for i, name in enumerate(WEIGHTS)}
    for name, file in parts.items():
        save_file({name: WEIGHTS[name]}, tmp_path / file)
    index = tmp_path / 'model.safetensors.index.json'
    index.write_text(json.dumps(dict(weight_map=parts)))
    assert_weights(read_checkpoint(tmp_path))
    index.write_text('<html>')
    with pytest.raises(CheckpointError, match='not an index of weights'):
        read_checkpoint(tmp_path)
    save_file({'other': torch.ones(1)}, tmp_path / 'model.safetensors')
    assert set(read_checkpoint(tmp_path)) == {'other'}


def test_an_index_of_files(tmp_path):
    """Given itself, of either kind of file, under any name."""
    for suffix, write in (('bin', save), ('safetensors', save_file)):
        parts = {name: f'part-{i}.{suffix}' for i, name in enumerate(WEIGHTS)}
        for name, file in parts.items():
            write({name: WEIGHTS[name]}, tmp_path / file)
        index = tmp_path / f'video.{suffix}.index.json'
        index.write_text(json.dumps(dict(weight_map=parts)))
        assert_weights(read_checkpoint(index))
    (tmp_path / parts['head']).unlink()
    with pytest.raises(CheckpointError, match=f'{parts["head"]}, but .*download'):
        read_checkpoint(index)


def test_folders_of_deepspeed(tmp_path):
    step = tmp_path / 'global_step30'
    step.mkdir()
    content = dict(
        module=WEIGHTS,
        param_shapes=[{name: one.shape for name, one in WEIGHTS.items()}],
        sparse_tensor_module_names=set(),
        ds_version='0.14',
        args=argparse.Namespace(lr=1),
    )
    (tmp_path / 'latest').write_text('global_step30')
    with pytest.raises(CheckpointError, match='global_step30 is a folder without weights'):
        read_checkpoint(tmp_path)
    save(content, step / 'mp_rank_00_model_states.pt')
    save({}, step / 'zero_pp_rank_0_mp_rank_00_optim_states.pt')
    for folder in (tmp_path, step):
        assert_weights(unwrap(read_checkpoint(folder)))
    save(content, step / 'mp_rank_01_model_states.pt')
    with pytest.raises(CheckpointError, match='divided among 2 processes'):
        read_checkpoint(step)
    save({}, step / 'zero_pp_rank_0_mp_rank_00_model_states.pt')
    with pytest.raises(CheckpointError, match=f'zero_to_fp32.py . whole.pth` in {tmp_path},'):
        read_checkpoint(tmp_path)


def test_a_folder_of_torch_distributed(tmp_path):
    dcp = pytest.importorskip('torch.distributed.checkpoint.format_utils')
    dcp.torch_save_to_dcp(save(dict(model=WEIGHTS), tmp_path / 'a.pth'), tmp_path / 'parts')
    with pytest.raises(CheckpointError, match=f'dcp_to_torch {tmp_path}/parts whole.pth'):
        read_checkpoint(tmp_path / 'parts')


def test_other_file_backends(tmp_path, monkeypatch):
    files = {'shelf://a.pth': save(WEIGHTS, tmp_path / 'a.pth').read_bytes()}
    backend = SimpleNamespace(get=files.__getitem__)
    monkeypatch.setattr('amd_mm.checkpoints.io.get_file_backend', lambda path: backend)
    assert_weights(read_checkpoint('shelf://a.pth'))
    with pytest.raises(CheckpointError, match='shelf://gone'):
        read_checkpoint('shelf://gone.pth')


@pytest.mark.parametrize('kind', ['zip', 'legacy', 'safetensors'])
def test_truncated_files(tmp_path, kind):
    state, path = {'weight': torch.randn(5000)}, tmp_path / 'cut.pth'
    if kind == 'safetensors':
        save_file(state, path)
    else:
        save(state, path, _use_new_zipfile_serialization=kind == 'zip')
    content = path.read_bytes()
    for share in (0.02, 0.5, 0.99):
        path.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(CheckpointError, match='cut.pth .*cut short'):
            read_checkpoint(path)


@pytest.mark.parametrize(
    'content, reason',
    [
        (b'', 'is empty'),
        (b'version https://git-lfs.github.com/spec/v1\noid sha256:4d7', 'git lfs'),
        (b'<!DOCTYPE html><html>login</html>', 'web page'),
        (b'{"error": "not found"}', 'JSON'),
        (b'\x1f\x8b\x08\x00abc', 'gzip'),
        (b'hello, world. this is text', 'not a checkpoint'),
        (zlib.compress(b'x' * 100), 'not a checkpoint'),
        (pickle.dumps('no tensors', protocol=2), 'damaged|not a checkpoint'),
    ],
)
def test_other_files_under_a_checkpoint_s_name(tmp_path, content, reason):
    path = tmp_path / 'teacher.pth'
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=f'teacher.pth .*({reason})'):
        read_checkpoint(path)


def test_no_dictionary_and_no_file(tmp_path):
    path = save([torch.ones(2)], tmp_path / 'list.pth')
    with pytest.raises(CheckpointError, match='holds a list'):
        read_checkpoint(path)
    with pytest.raises(CheckpointError, match='no file .*gone.pth'):
        read_checkpoint(tmp_path / 'gone.pth')


def test_an_address_is_downloaded_once(tmp_path, monkeypatch):
    source = save(WEIGHTS, tmp_path / 'a.pth')
    calls = []

    def download(address, target, sha256, progress):
        calls.append(address)
        if 'away' in address:
            raise OSError('no route to host')
        with open(target, 'wb') as stream:
            stream.write(source.read_bytes())

    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    monkeypatch.setattr(torch.hub, 'download_url_to_file', download)
    for owner in ('one', 'two', 'one'):
        assert_weights(read_checkpoint(f'https://x.org/{owner}/pytorch_model.bin?raw=1'))
    # two addresses with the same file name are two files
    assert len(calls) == len(set(calls)) == len(os.listdir(tmp_path / 'hub' / 'checkpoints')) == 2
    with pytest.raises(CheckpointError, match='no route.*other means'):
        read_checkpoint('https://away.org/a.pth')


@pytest.fixture
def public():
    return draw_state(load_golden('amd_video')['student_names'], 'student')


@pytest.mark.parametrize(
    'fmt, keys',
    [('amd_mm', {'state_dict', 'meta'}), ('videomae', {'model', 'meta'}), ('huggingface', None)],
)
def test_weights_are_where_their_programs_look(tmp_path, public, fmt, keys):
    state, _ = from_amd_mm(to_amd_mm(public).state, fmt)
    save_weights(state, tmp_path / 'x.pth', fmt)
    checkpoint = torch.load(tmp_path / 'x.pth', weights_only=True)
    assert set(checkpoint) == (keys or set(state))
    assert set(unwrap(checkpoint)) == set(state)


def test_an_interrupted_write_leaves_the_old_file(tmp_path, public, monkeypatch):
    path = tmp_path / 'new folder' / 'x.pth'
    digest = save_weights(public, path, 'amd')
    before = path.read_bytes()
    assert save_weights(public, path, 'amd', force=True) == digest

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, 'fsync', interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_weights(public, path, 'amd', force=True)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ['x.pth']
    with pytest.raises(CheckpointError, match='--force'):
        save_weights(public, path, 'amd')
