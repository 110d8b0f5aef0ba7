"""fp16 and int8 ONNX files, and their agreement with the PyTorch model."""

import re

import pytest
import torch
from amd_mm.deployment import measure_agreement, portable_classifier, write_smaller
from amd_mm.deployment.exporting import read_onnx
from mmengine.config import Config

from ..test_tools.tool_scripts import load_tool
from .tiny_models import CLIPS, write

export = load_tool('export')


def test_smaller_programs_agree(tmp_path, tiny_video_folder, capsys):
    for package in ('onnxruntime', 'onnxscript'):
        pytest.importorskip(package)
    config, checkpoint, _ = write(tmp_path, CLIPS)
    out = tmp_path / 'x.onnx'
    call = [config, checkpoint, str(out), '--format', 'onnx', '--check', str(tiny_video_folder)]
    export.main(call)
    rows = re.findall(r'^\| (PyTorch|fp32|fp16|int8) \|.*$', capsys.readouterr().out, re.MULTILINE)
    assert rows == ['PyTorch', 'fp32', 'fp16', 'int8']
    sizes = [(tmp_path / f'x{one}.onnx').stat().st_size for one in ('', '.fp16', '.int8')]
    assert sizes[0] > 1.5 * sizes[1] and sizes[1] > sizes[2]

    model = portable_classifier(Config.fromfile(config), checkpoint)
    clips = model.example(2)
    with torch.no_grad():
        expected = model(clips).softmax(-1)
    for kind, tolerance in (('.fp16', 0.01), ('.int8', 0.1)):
        found = read_onnx(str(tmp_path / f'x{kind}.onnx'))(clips).softmax(-1)
        assert not torch.equal(found, expected)
        torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)

    # a program of another model does not agree
    videos = sorted(map(str, tiny_video_folder.rglob('*.mp4')))[:3]
    other = portable_classifier(Config.fromfile(config), checkpoint)
    other.core.cls_head.fc_cls.weight.neg_()
    first, wrong = measure_agreement(other, {'fp32': out}, videos, 2)
    assert (first.name, first.top1) == ('PyTorch', 1) and wrong.top1 < 1 and wrong.largest > 0.01
    assert write_smaller(out, 'int8') == tmp_path / 'x.int8.onnx'


def test_features_and_other_formats_are_not_checked(capsys):
    for call in ('a.pth x.pt2 --format pt2', 'a.pth x.onnx --format onnx --features'):
        with pytest.raises(SystemExit):
            export.main([*call.split(), '--check', 'videos'])
        assert '--check is for --format onnx and scores' in capsys.readouterr().err
