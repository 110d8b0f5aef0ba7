"""docs/exporting.md: its commands and its code run, one after the other."""

import re
import shlex

import pytest
import torch
from amd_mm.registry import MODELS
from mmengine.config import Config

from ..test_tools.tool_scripts import load_tool
from .tiny_models import CLIPS, REPOSITORY, build, save

PAGE = (REPOSITORY / 'docs' / 'exporting.md').read_text()
TOOL = 'python tools/export.py '
PLACEHOLDER = 'vit-1a2b3c4d.pth'


def test_the_page_runs(tmp_path, monkeypatch, capsys):
    pytest.importorskip('onnxruntime')
    pytest.importorskip('onnxscript')
    export = load_tool('export')
    (tmp_path / 'configs').symlink_to(REPOSITORY / 'configs')
    (tmp_path / 'labels.txt').write_text('\n'.join(map(str, range(8))))
    model = build(Config.fromfile(REPOSITORY / 'configs' / CLIPS).model)
    save(model, tmp_path / 'student.pth')
    monkeypatch.chdir(tmp_path)
    commands = 0
    for language, text in re.findall(r'```(\w+)\n(.*?)```', PAGE, re.DOTALL):
        if language == 'bash':
            for line in text.splitlines():
                if line.startswith(TOOL):
                    export.main(shlex.split(line.removeprefix(TOOL)))
                    commands += 1
                else:
                    assert line.startswith('pip install ')
            continue
        names = {}
        for written in tmp_path.glob('vit-*.pth'):
            text = text.replace(PLACEHOLDER, written.name)
        exec(text, names)
        if 'clips' in names:
            ours = model.data_preprocessor
            clips = (torch.as_tensor(names['clips']) - ours.mean) / ours.std
            features = model.backbone(clips)
        if 'features' in names:
            torch.testing.assert_close(names['features'], features)
        if 'logits' in names:
            logits = torch.from_numpy(names['logits'])
            torch.testing.assert_close(logits, model.cls_head(features))
        if 'backbone' in names:
            stock = MODELS.build(names['backbone']).eval()
            stock.init_weights()
            clips = torch.randn(1, 3, 8, 32, 32)
            torch.testing.assert_close(stock(clips), model.backbone(clips))
    assert commands == 3
    assert len(list(tmp_path.glob('vit-*.pth'))) == 1
    said = capsys.readouterr().out
    assert said.count('largest difference from the model') == 2
