"""tools/convert_checkpoint.py."""

import argparse
import hashlib
import os
from collections import UserString

import pytest
import torch
from amd_mm.checkpoints import detect_format, read_checkpoint
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


def test_there_and_back(tmp_path, public):
    source, ours, back = (tmp_path / one for one in ('public.pth', 'ours.pth', 'back.safetensors'))
    torch.save(dict(model=public, args=argparse.Namespace(lr=1)), source)
    printed = run(source, ours)
    assert 'amd (public AMD' in printed
    assert 'ViT: 4 blocks, 48 wide, patch 2x16x16' in printed
    assert 'dropped 4: generators.{0-1}' in printed and 'never uses it' in printed
    assert '118 tensors' in printed
    assert f'sha256 {hashlib.sha256(ours.read_bytes()).hexdigest()}' in printed
    checkpoint = read_checkpoint(ours)
    assert set(checkpoint) == {'state_dict', 'meta'}
    assert checkpoint['meta']['converted_from'] == str(source)
    assert detect_format(checkpoint) == 'amd_mm'
    printed = run(ours, back, '--to', 'amd')
    assert 'dropped 2: generator_mask_tokens.{0-1} (the public program keeps it' in printed
    state = read_checkpoint(back)
    assert set(public) - set(state) == {f'generator_mask_tokens.{i}' for i in (0, 1)}
    with safe_open(back, 'pt') as stream:
        assert stream.metadata()['format'] == 'pt'
        assert stream.metadata()['converted_from'] == str(ours)


def test_looking_and_refusing(tmp_path, public):
    source, target = tmp_path / 'a.pth', tmp_path / 'b.pth'
    torch.save(public, source)
    printed = run(source, '--list', '--to', 'huggingface')
    assert (
        'videomae.encoder.layer.3.attention.attention.key.weight (48, 48) torch.float32' in printed
    )
    assert ': neck.projections.{0-1}, neck.generators.{0-1} (has no' in printed
    assert os.listdir(tmp_path) == ['a.pth']
    target.write_text('precious')
    assert '--force' in run(source, target, ok=False)
    assert target.read_text() == 'precious'
    run(source, target, '--force')
    assert detect_format(read_checkpoint(target)) == 'amd_mm'
    error = run(tmp_path / 'gone.pth', tmp_path / 'c.pth', ok=False)
    assert error.startswith('convert_checkpoint: There is no file')


def test_the_destination_is_checked_first(tmp_path, monkeypatch):
    """Before SRC is read."""
    (tmp_path / 'file').touch()
    gone = tmp_path / 'gone.pth'
    for target, words in (
        (tmp_path / 'file' / 'new' / 'x.pth', 'file is not a folder in which'),
        (tmp_path, 'is a folder'),
    ):
        assert words in run(gone, target, '--force', ok=False)
    monkeypatch.setattr(os, 'access', lambda path, mode: False)  # root may write anywhere
    error = run(gone, tmp_path / 'new' / 'x.pth', ok=False)
    assert f'{tmp_path} is not a folder in which you may write' in error
    assert os.listdir(tmp_path) == ['file']


def test_trusted_files(tmp_path, public):
    source, target = tmp_path / 'a.pth', tmp_path / 'b.pth'
    torch.save(dict(model=public, extra=UserString('x')), source)
    assert '--unsafe' in run(source, target, ok=False)
    assert not target.exists()
    run(source, target, '--unsafe', '--from', 'amd')
    assert detect_format(read_checkpoint(target)) == 'amd_mm'
