"""Programs that tools/export.py writes, run without this package."""

import hashlib
import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch
from amd_mm.deployment import (
    PortableModel,
    export_program,
    exporting,
    portable_classifier,
    portable_encoder,
)
from amd_mm.errors import ConfigError
from mmengine.config import Config
from torch import nn

from ..test_tools.tool_scripts import load_tool
from .tiny_models import CLIP_PRETRAINING, IMAGES, write

export = load_tool('export')
ALONE = """
import sys, torch
for file in sys.argv[1:]:
    program = torch.export.load(file).module()
    with torch.no_grad():
        torch.save(program(torch.load(file + '.pixels')), file + '.output')
loaded = {one.split('.')[0] for one in sys.modules}
assert not loaded & {'amd_mm', 'mmengine', 'mmaction', 'mmcv'}, loaded
"""


def test_a_program_runs_where_there_is_only_torch(tmp_path, capsys):
    """In a process that imports nothing else."""
    config, checkpoint, _ = write(tmp_path, CLIP_PRETRAINING)
    out = str(tmp_path / 'encoder.pt2')
    options = ['--format', 'pt2', '--input', 'normalised', '--features']
    export.main([config, checkpoint, out, *options])
    assert 'largest difference from the model 0,' in capsys.readouterr().out
    model = portable_encoder(Config.fromfile(config), checkpoint, 'normalised')
    pixels = model.example(5, seed=7)  # a batch size that was not compared
    torch.save(pixels, f'{out}.pixels')
    environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
    subprocess.run([sys.executable, '-c', ALONE, out], check=True, env=environment, cwd=tmp_path)
    torch.testing.assert_close(torch.load(f'{out}.output'), model(pixels))


def test_onnx_for_any_batch(tmp_path):
    onnxruntime = pytest.importorskip('onnxruntime')
    pytest.importorskip('onnxscript')
    config, checkpoint, _ = write(tmp_path, IMAGES)
    out, labels = tmp_path / 'x.onnx', tmp_path / 'labels.txt'
    model = portable_classifier(Config.fromfile(config), checkpoint)
    names = [f'class {i}' for i in range(model.num_outputs())]
    labels.write_text('\n'.join(names))
    export.main([config, checkpoint, str(out), '--format', 'onnx', '--labels', str(labels)])
    notes = json.loads((tmp_path / 'x.onnx.json').read_text())
    session = onnxruntime.InferenceSession(str(out))
    (pixels,), (scores,) = session.get_inputs(), session.get_outputs()
    # the description is what the program itself says
    assert pixels.name == notes['input']['name']
    assert pixels.shape == notes['input']['shape'] == ['batch', *model.size]
    assert pixels.type == f'tensor({notes["input"]["dtype"]})'
    assert scores.name == notes['output']['name'] == 'logits'
    assert scores.shape == notes['output']['shape'] == ['batch', len(names)]
    assert notes['labels'] == names
    assert notes['sha256'] == hashlib.sha256(out.read_bytes()).hexdigest()
    assert notes['command'].startswith(f'tools/export.py {config} ')
    assert notes['check']['done'] and notes['check']['batch_sizes'] == [1, 3]
    assert notes['check']['largest_difference'] < 1e-4
    assert any('Pack' in one['type'] for one in notes['pipeline'])
    for batch in (1, 4):
        given = model.example(batch, seed=batch)
        (got,) = session.run(None, {pixels.name: given.numpy()})
        torch.testing.assert_close(torch.from_numpy(got), model(given))
    assert str(tmp_path).encode() not in out.read_bytes()


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
