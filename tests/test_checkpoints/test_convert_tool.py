"""tools/convert_checkpoint.py and the writing of files."""

import argparse
import hashlib
import os
from collections import UserString

import pytest
import torch
from amd_mm.checkpoints import (
    detect_format,
    from_amd_mm,
    read_checkpoint,
    save_weights,
    to_amd_mm,
    unwrap,
)
from safetensors import safe_open

from ..golden import draw_state, load_golden
from ..test_tools.tool_scripts import run_tool


def run(*args, ok=True):
    done = run_tool('convert_checkpoint', *args)
    assert (done.returncode == 0) == ok, done.stdout + done.stderr
    return done.stdout if ok else done.stderr


@pytest.fixture
def public():
    return draw_state(load_golden('amd_video')['student_names'], 'student')


@pytest.fixture
def source(tmp_path, public):
    path = tmp_path / 'public.pth'
    torch.save(dict(model=public, args=argparse.Namespace(lr=1)), path)
    return path


def test_there_and_back(tmp_path, source, public):
    ours, back = tmp_path / 'ours.pth', tmp_path / 'back.safetensors'
    said = run(source, ours)
    assert 'amd (public AMD' in said
    assert 'ViT: 4 blocks, 48 wide, patch 2x16x16' in said
    assert 'dropped 4: generators.{0-1}' in said and 'never uses it' in said
    assert '118 tensors' in said
    digest = hashlib.sha256(ours.read_bytes()).hexdigest()
    assert f'sha256 {digest}' in said
    checkpoint = read_checkpoint(ours)
    assert set(checkpoint) == {'state_dict', 'meta'}
    assert checkpoint['meta']['converted_from'] == str(source)
    assert detect_format(checkpoint) == 'amd_mm'
    run(ours, back, '--to', 'amd')
    state = read_checkpoint(back)
    assert all(torch.equal(state[name], public[name]) for name in state)
    assert len(public) - len(state) == 4
    with safe_open(back, 'pt') as stream:
        assert stream.metadata()['format'] == 'pt'
        assert stream.metadata()['converted_from'] == str(ours)


def test_looking_and_refusing(tmp_path, public):
    source, target = tmp_path / 'a.pth', tmp_path / 'b.pth'
    torch.save(public, source)
    said = run(source, '--list', '--to', 'huggingface')
    assert (
        'videomae.encoder.layer.3.attention.attention.key.weight (48, 48) torch.float32'
    ) in said
    assert ': neck.projections.{0-1}, neck.generators.{0-1} (has no' in said
    assert os.listdir(tmp_path) == ['a.pth']
    target.write_text('precious')
    assert '--force' in run(source, target, ok=False)
    assert target.read_text() == 'precious'
    run(source, target, '--force')
    assert detect_format(read_checkpoint(target)) == 'amd_mm'
    said = run(tmp_path / 'gone.pth', tmp_path / 'c.pth', ok=False)
    assert said.startswith('convert_checkpoint: There is no file')
    assert 'Traceback' not in said


def test_a_place_to_write_is_looked_for_first(tmp_path, monkeypatch):
    """The source is not even looked at; root may write anywhere."""
    (tmp_path / 'file').touch()
    for target, words in (
        (tmp_path / 'file' / 'new' / 'x.pth', 'file is no folder in which'),
        (tmp_path, 'is a folder'),
    ):
        said = run(tmp_path / 'gone.pth', target, '--force', ok=False)
        assert said.startswith('convert_checkpoint: ') and words in said
        assert said.count('\n') == 1
    monkeypatch.setattr(os, 'access', lambda path, mode: False)
    said = run(tmp_path / 'gone.pth', tmp_path / 'new' / 'x.pth', ok=False)
    assert f'{tmp_path} is no folder in which you may write' in said
    assert os.listdir(tmp_path) == ['file']


def test_converting_knowingly(tmp_path, public):
    source, target = tmp_path / 'a.pth', tmp_path / 'b.pth'
    torch.save(dict(model=public, extra=UserString('x')), source)
    assert '--unsafe' in run(source, target, ok=False)
    assert not target.exists()
    run(source, target, '--unsafe', '--from', 'amd')
    assert detect_format(read_checkpoint(target)) == 'amd_mm'


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


def test_the_same_weights_have_the_same_checksum(tmp_path, public):
    digests = {save_weights(public, tmp_path / name, 'amd') for name in ('one.pth', 'two.pth')}
    assert len(digests) == 1


def test_an_interrupted_write_leaves_the_old_file(tmp_path, public, monkeypatch):
    path = tmp_path / 'x.pth'
    save_weights(public, path, 'amd')
    before = path.read_bytes()

    def fail(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, 'fsync', fail)
    with pytest.raises(KeyboardInterrupt):
        save_weights(public, path, 'amd', force=True)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ['x.pth']
    with pytest.raises(FileExistsError, match='--force'):
        save_weights(public, path, 'amd')
