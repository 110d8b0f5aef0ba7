"""Programs are compared with their model before they are saved."""

import json
import os
from importlib.util import find_spec

import pytest
import torch
from amd_mm.deployment import PortableModel, export_program, exporting
from amd_mm.errors import ConfigError
from torch import nn

from ..test_tools.tool_scripts import load_tool
from .tiny_models import IMAGES, write

export = load_tool('export')


def tiny(function):
    return PortableModel(nn.Identity(), function, (3, 4, 4), 'features')


def average(x):
    return x.flatten(2).mean(2)


def changes_when_exported(x):
    return average(x) * (2 if torch.compiler.is_compiling() else 1)


def test_a_program_that_differs_is_not_saved(tmp_path):
    out = tmp_path / 'x.pt2'
    with pytest.raises(ConfigError, match=r'not written: .* differs .* by up'):
        export_program(tiny(changes_when_exported), out, 'pt2')
    assert os.listdir(tmp_path) == []
    export_program(tiny(average), out, 'pt2')
    before = out.read_bytes(), (tmp_path / 'x.pt2.json').read_bytes()
    with pytest.raises(ConfigError, match='differs'):
        export_program(tiny(changes_when_exported), out, 'pt2', force=True)
    assert (out.read_bytes(), (tmp_path / 'x.pt2.json').read_bytes()) == before
    assert sorted(os.listdir(tmp_path)) == ['x.pt2', 'x.pt2.json']


def test_nan_is_a_difference(tmp_path):
    with pytest.raises(ConfigError, match='nan'):
        export_program(tiny(lambda x: average(x) * float('nan')), tmp_path / 'x.pt2', 'pt2')
    assert os.listdir(tmp_path) == []
    found = export_program(tiny(lambda x: average(x) * 0), tmp_path / 'x.pt2', 'pt2')
    assert found.difference == (0, 0)


def test_a_program_for_one_batch_size_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(exporting._READERS, 'pt2', lambda path: lambda x: torch.zeros(2, 3))
    with pytest.raises(ConfigError, match='batch of 1, the model'):
        export_program(tiny(average), tmp_path / 'x.pt2', 'pt2')
    assert os.listdir(tmp_path) == []


def hide(monkeypatch, *packages):
    """As if they were not installed."""
    monkeypatch.setattr(
        exporting, 'find_spec', lambda name: None if name in packages else find_spec(name)
    )


def test_without_onnxruntime_nothing_is_compared(tmp_path, capsys, monkeypatch):
    config, checkpoint, _ = write(tmp_path, IMAGES)
    monkeypatch.setattr(exporting, 'find_spec', lambda name: name != 'onnxruntime' or None)
    monkeypatch.setitem(exporting._WRITERS, 'onnx', lambda model, path: open(path, 'wb').close())
    out = tmp_path / 'x.onnx'
    export.main([config, checkpoint, str(out), '--format', 'onnx'])
    said = capsys.readouterr().out
    assert 'NOT compared' in said and 'pip install onnxruntime' in said
    notes = json.loads((tmp_path / 'x.onnx.json').read_text())
    assert notes['check'] == dict(done=False, because='onnxruntime is not installed')


def test_missing_packages_are_named(tmp_path, monkeypatch):
    hide(monkeypatch, 'onnx', 'onnxscript')
    with pytest.raises(SystemExit) as error:
        export.main(['x.py', 'x.pth', str(tmp_path / 'x.onnx'), '--format', 'onnx'])
    assert 'pip install onnx onnxscript onnxruntime' in str(error.value.code)


def test_an_interrupted_export_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, 'replace', interrupt)
    with pytest.raises(KeyboardInterrupt):
        export_program(tiny(average), tmp_path / 'x.pt2', 'pt2')
    assert os.listdir(tmp_path) == []
