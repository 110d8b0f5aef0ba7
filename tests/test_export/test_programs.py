"""What tools/export.py writes as a program, run by others than us."""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec

import pytest
import torch
from amd_mm.deployment import (
    PROGRAM_FORMATS,
    ExportError,
    PortableModel,
    build_classifier,
    build_encoder,
    export_program,
    program_formats,
)
from amd_mm.evaluation.label_map import LabelMapError
from mmengine.config import Config
from torch import nn

from ..test_tools.tool_scripts import load_tool
from .tiny_models import CLIP_PRETRAINING, CLIPS, IMAGES, write

export = load_tool('export')
# Only torch; from a program and its pixels to what comes out.
ALONE = """
import sys, torch
for file in sys.argv[1:]:
    program = (
        torch.jit.load(file)
        if file.endswith('.pt')
        else torch.export.load(file).module()
    )
    with torch.no_grad():
        torch.save(program(torch.load(file + '.pixels')), file + '.output')
loaded = {one.split('.')[0] for one in sys.modules}
assert not loaded & {'amd_mm', 'mmengine', 'mmaction', 'mmcv'}, loaded
"""


def test_programs_run_where_there_is_only_torch(tmp_path, capsys):
    """A classifier and an encoder, in a process that has nothing of ours."""
    expected = {}
    for name, fmt, takes in (
        (CLIPS, 'torchscript', 'uint8'),
        (CLIP_PRETRAINING, 'pt2', 'normalised'),
    ):
        config, checkpoint, _ = write(tmp_path, name)
        out = str(tmp_path / f'x{PROGRAM_FORMATS[fmt].suffix}')
        call = [config, checkpoint, out, '--format', fmt, '--input', takes]
        if fmt == 'pt2':
            call.append('--features')
        export.main(call)
        said = capsys.readouterr().out
        assert 'largest difference from the model 0,' in said
        make = build_encoder if fmt == 'pt2' else build_classifier
        model = make(Config.fromfile(config), checkpoint, takes)
        # Of neither of the batch sizes that were compared.
        pixels = model.example(5, seed=7)
        torch.save(pixels, f'{out}.pixels')
        expected[out] = model(pixels)
    subprocess.run(
        [sys.executable, '-c', ALONE, *expected],
        check=True,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
        cwd=tmp_path,
    )
    for out, output in expected.items():
        torch.testing.assert_close(torch.load(f'{out}.output'), output)


def test_onnx_for_any_batch(tmp_path):
    onnxruntime = pytest.importorskip('onnxruntime')
    pytest.importorskip('onnxscript')
    config, checkpoint, _ = write(tmp_path, IMAGES)
    out, labels = tmp_path / 'x.onnx', tmp_path / 'labels.txt'
    model = build_classifier(Config.fromfile(config), checkpoint)
    names = [f'class {i}' for i in range(model.num_outputs())]
    labels.write_text('\n'.join(names))
    call = [config, checkpoint, str(out), '--format', 'onnx']
    export.main([*call, '--labels', str(labels)])
    notes = json.loads((tmp_path / 'x.onnx.json').read_text())
    session = onnxruntime.InferenceSession(str(out))
    (pixels,), (scores,) = session.get_inputs(), session.get_outputs()
    # The description is what the program itself says.
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


class Core(nn.Module):
    """A network of one line."""

    def __init__(self, line):
        super().__init__()
        self.line = line

    def forward(self, x):
        return self.line(x)


def tiny(line):
    return PortableModel(Core(line), (3, 4, 4), 'features')


def average(x):
    return x.flatten(2).mean(2)


def branches(x):
    """What a trace forgets: it keeps the way of the traced numbers."""
    return average(x) * (1 if x[0, 0, 0, 0] == TRACED_PIXEL else 2)


TRACED_PIXEL = tiny(average).example(2)[0, 0, 0, 0].item()


def test_a_program_that_differs_gets_no_name(tmp_path):
    assert tiny(average).example(1, seed=1)[0, 0, 0, 0] != TRACED_PIXEL
    out = tmp_path / 'x.pt'
    with pytest.raises(ExportError, match=r'not written: .* differs .* by up'):
        export_program(tiny(branches), out, 'torchscript')
    assert os.listdir(tmp_path) == []
    export_program(tiny(average), out, 'torchscript')
    before = out.read_bytes(), (tmp_path / 'x.pt.json').read_bytes()
    with pytest.raises(ExportError, match='differs'):
        export_program(tiny(branches), out, 'torchscript', force=True)
    assert (out.read_bytes(), (tmp_path / 'x.pt.json').read_bytes()) == before
    assert sorted(os.listdir(tmp_path)) == ['x.pt', 'x.pt.json']


@pytest.mark.parametrize('factor, message', [(float('nan'), 'nan'), (0, '')])
def test_not_a_number_is_a_difference(tmp_path, factor, message):
    model = tiny(lambda x: average(x) * factor)
    if message:
        with pytest.raises(ExportError, match=message):
            export_program(model, tmp_path / 'x.pt', 'torchscript')
        assert os.listdir(tmp_path) == []
    else:
        found = export_program(model, tmp_path / 'x.pt', 'torchscript')
        assert found.difference.largest == 0 == found.difference.scale


def test_a_program_for_one_batch_size_is_refused(tmp_path, monkeypatch):
    model = tiny(lambda x: average(x).mean(0, keepdim=True).repeat(2, 1))
    original = PROGRAM_FORMATS['torchscript']
    # Written of the one, compared with the other.
    fixed = replace(original, write=lambda _, at: original.write(model, at))
    monkeypatch.setitem(PROGRAM_FORMATS, 'torchscript', fixed)
    with pytest.raises(ExportError, match='batch of 1, the model'):
        export_program(tiny(average), tmp_path / 'x.pt', 'torchscript')
    assert os.listdir(tmp_path) == []


def hide(monkeypatch, *packages):
    """As if they were not installed."""
    monkeypatch.setattr(
        program_formats, 'find_spec', lambda name: None if name in packages else find_spec(name)
    )


def test_without_onnxruntime_it_says_what_was_not_checked(tmp_path, capsys, monkeypatch):
    config, checkpoint, _ = write(tmp_path, IMAGES)
    hide(monkeypatch, 'onnxruntime')
    unchecked = replace(
        PROGRAM_FORMATS['onnx'], needs=(), write=lambda model, path: open(path, 'wb').close()
    )
    monkeypatch.setitem(PROGRAM_FORMATS, 'onnx', unchecked)
    out = tmp_path / 'x.onnx'
    export.main([config, checkpoint, str(out), '--format', 'onnx'])
    said = capsys.readouterr().out
    assert 'NOT compared' in said and 'pip install onnxruntime' in said
    notes = json.loads((tmp_path / 'x.onnx.json').read_text())
    assert notes['check'] == dict(done=False, because='onnxruntime is not installed')


def test_without_onnx_it_says_what_to_install(tmp_path, monkeypatch):
    hide(monkeypatch, 'onnx', 'onnxscript')
    with pytest.raises(SystemExit) as error:
        export.main(['x.py', 'x.pth', str(tmp_path / 'x.onnx'), '--format', 'onnx'])
    assert 'pip install onnx onnxscript onnxruntime' in str(error.value.code)


def test_an_interrupted_export_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, 'replace', interrupt)
    with pytest.raises(KeyboardInterrupt):
        export_program(tiny(average), tmp_path / 'x.pt', 'torchscript')
    assert os.listdir(tmp_path) == []


def test_labels_have_to_be_as_many_as_classes(tmp_path):
    config, checkpoint, _ = write(tmp_path, IMAGES)
    labels = tmp_path / 'labels.txt'
    labels.write_text('one\ntwo\n')
    args = [config, checkpoint, str(tmp_path / 'x.pt'), '--labels', str(labels)]
    with pytest.raises(SystemExit, match='2 names.*10 classes') as error:
        export.main([*args, '--format', 'torchscript'])
    assert isinstance(error.value.__context__, LabelMapError)
    assert not (tmp_path / 'x.pt').exists()
