"""The table of sizes: published numbers, measured times."""

from pathlib import Path

import amd_mm
import pytest
from amd_mm import cli, sizes

PAGE = Path(__file__).resolve().parents[1] / 'docs/model_zoo.md'


def test_sizes_are_the_published_ones(capsys):
    """GFLOPs of VideoMAE's and AMD's tables (57, 180, 597) and DeiT's and MAE's (4.6, 17.6)."""
    rows = {(row.name, len(row.inputs)): row for row in amd_mm.model_sizes()}
    for name, video, image in (
        ('vit-small', 57, 4.6),
        ('vit-base', 180, 17.6),
        ('vit-large', 597, 61.6),
    ):
        assert rows[name, 3].gflops == pytest.approx(video, abs=0.5)
        assert rows[name, 2].gflops == pytest.approx(image, abs=0.05)
    assert round(rows['vit-small', 3].parameters / 1e6) == 22
    cli.main(['sizes'])
    assert capsys.readouterr().out.strip() in PAGE.read_text()


def test_latency_is_measured(monkeypatch, capsys):
    monkeypatch.setattr(sizes, 'STUDENTS', {'small': (64, 1, 1), 'large': (512, 12, 8)})
    small, large, *_ = amd_mm.model_sizes(4, 32, latency=True, device='cpu')
    assert 0 < small.milliseconds < large.milliseconds
