"""docs/exporting.md: its commands and its code run, and the programs run without this package."""

import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from amd_mm.registry import MODELS
from mmengine.config import Config

from ..test_tools.tool_scripts import load_tool
from .tiny_models import CLIPS, REPOSITORY, build, save

PAGE = (REPOSITORY / 'docs' / 'exporting.md').read_text()
TOOL = 'python tools/export.py '
PLACEHOLDER = 'vit-1a2b3c4d.pth'
LABELS = [f'class {number}' for number in range(8)]
ALONE = """
import sys, torch
program = torch.export.load('encoder.pt2').module()
with torch.no_grad():
    torch.save(program(torch.load('clips.pth')), 'features.pth')
loaded = {one.split('.')[0] for one in sys.modules}
assert not loaded & {'amd_mm', 'mmengine', 'mmaction', 'mmcv'}, loaded
"""


@pytest.fixture(scope='module')
def page(tmp_path_factory):
    """The folder after the page's commands, what its code computed, and the model."""
    pytest.importorskip('onnxruntime')
    pytest.importorskip('onnxscript')
    folder = tmp_path_factory.mktemp('page')
    (folder / 'configs').symlink_to(REPOSITORY / 'configs')
    (folder / 'labels.txt').write_text('\n'.join(LABELS))
    model = build(Config.fromfile(REPOSITORY / 'configs' / CLIPS).model)
    save(model, folder / 'student.pth')
    export, blocks = load_tool('export'), []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for language, text in re.findall(r'```(\w+)\n(.*?)```', PAGE, re.DOTALL):
            if language == 'bash':
                for line in text.splitlines():
                    if line.startswith(TOOL):
                        export.main(shlex.split(line.removeprefix(TOOL)))
                    else:
                        assert line.startswith('pip install ')
                continue
            names = {}
            for written in folder.glob('vit-*.pth'):
                text = text.replace(PLACEHOLDER, written.name)
            exec(text, names)
            blocks.append(names)
    return SimpleNamespace(folder=folder, blocks=blocks, model=model)


def test_the_code_computes_what_the_model_does(page):
    onnx, pt2, *others = page.blocks
    ours = page.model.data_preprocessor
    for names in (onnx, pt2):
        clips = (torch.as_tensor(names['clips']) - ours.mean) / ours.std
        names['expected'] = page.model.backbone(clips)
    torch.testing.assert_close(pt2['features'], pt2['expected'])
    logits = torch.from_numpy(onnx['logits'])
    torch.testing.assert_close(logits, page.model.cls_head(onnx['expected']))
    (backbone,) = [names['backbone'] for names in others if 'backbone' in names]
    stock = MODELS.build(backbone).eval()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(page.folder)
        stock.init_weights()
    clips = torch.randn(1, 3, 8, 32, 32)
    torch.testing.assert_close(stock(clips), page.model.backbone(clips))
    assert len(list(page.folder.glob('vit-*.pth'))) == 1


def test_the_description_is_what_the_onnx_file_says(page):
    import onnxruntime

    path = page.folder / 'student.onnx'
    notes = json.loads((page.folder / 'student.onnx.json').read_text())
    session = onnxruntime.InferenceSession(str(path))
    (pixels,), (scores,) = session.get_inputs(), session.get_outputs()
    assert pixels.name == notes['input']['name'] == 'clip'
    assert pixels.shape == notes['input']['shape'] == ['batch', 3, 8, 32, 32]
    assert pixels.type == f'tensor({notes["input"]["dtype"]})'
    assert scores.name == notes['output']['name'] == 'logits'
    assert scores.shape == notes['output']['shape'] == ['batch', len(LABELS)]
    assert notes['labels'] == LABELS
    assert notes['sha256'] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert notes['command'].startswith('tools/export.py configs/')
    assert notes['check']['done'] and notes['check']['batch_sizes'] == [1, 3]
    assert notes['check']['largest_difference'] < 1e-4
    assert any('Pack' in one['type'] for one in notes['pipeline'])
    for text in (str(page.folder), str(Path.home())):
        assert text.encode() not in path.read_bytes()


def test_a_program_runs_where_there_is_only_torch(page, tmp_path):
    """In a process that imports nothing else."""
    (tmp_path / 'encoder.pt2').symlink_to(page.folder / 'encoder.pt2')
    # A batch size that was not compared.
    clips = torch.randint(256, (5, 3, 8, 32, 32), dtype=torch.uint8)
    torch.save(clips, tmp_path / 'clips.pth')
    environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
    subprocess.run([sys.executable, '-c', ALONE], check=True, env=environment, cwd=tmp_path)
    ours = page.model.data_preprocessor
    expected = page.model.backbone((clips - ours.mean) / ours.std)
    torch.testing.assert_close(torch.load(tmp_path / 'features.pth'), expected)
