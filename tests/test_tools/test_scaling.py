"""tools/benchmarks/scaling.py: against sums by hand, and in its limits."""

import importlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from amd_mm.models.meta import build_on_meta
from hypothesis import given
from hypothesis import strategies as st
from mmengine.config import Config

from tests.test_configs.shrink import CONFIGS, REPOSITORY

FOLDER = REPOSITORY / 'tools' / 'benchmarks'
AMD = 'amd/pretrain/amd_vit-small-p16_vit-base_32xb64-16x4x1-800e_folder.py'


@pytest.fixture(scope='module')
def scaling() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        return importlib.import_module('scaling')


def links(scaling: ModuleType, **changes: float):
    values = dict(per_node=8, intra=1e9, inter=1e8, latency=0.0, overlap=0.0)
    return scaling.Links(**{**values, **changes})


def test_one_node_by_hand(scaling):
    # 8 GB round 8 GPUs at 1 GB/s: 7 messages of 1 GB, 7 s a collective.
    one = links(scaling)
    assert scaling.communication(8, 8e9, one, 2) == pytest.approx(14)
    assert scaling.communication(8, 8e9, one, 3) == pytest.approx(21)
    slow = replace(one, latency=1.0)
    assert scaling.communication(8, 8e9, slow, 2) == pytest.approx(28)
    assert scaling.communication(1, 8e9, slow, 2) == 0


def test_several_nodes_by_hand(scaling):
    # Inside as above; then 1 GB round 4 nodes at 0.1 GB/s: 3 x 2.5 s.
    assert scaling.communication(32, 8e9, links(scaling), 2) == pytest.approx(14 + 15)
    # Without a faster link inside, a ring of all is what it amounts to.
    flat = links(scaling, per_node=1, inter=1e9)
    assert scaling.communication(4, 8e9, flat, 2) == pytest.approx(12)


def test_efficiency_by_hand(scaling):
    step = scaling.Step(seconds=14.0, clips=64, backward_share=0.5)
    one = links(scaling)
    assert scaling.efficiency(8, 8e9, step, one, 'DDP') == pytest.approx(0.5)
    assert scaling.efficiency(8, 8e9, step, one, 'FSDP') == pytest.approx(0.4)
    # Half of the 7 s of the backward pass hides 3.5 of the 14 s.
    half = replace(one, overlap=0.5)
    assert scaling.efficiency(8, 8e9, step, half, 'DDP') == pytest.approx(14 / 24.5)
    long = replace(step, seconds=100.0)  # all 14 s fit: half is hidden
    assert scaling.efficiency(8, 8e9, long, half, 'DDP') == pytest.approx(100 / 107)
    row, _ = scaling.figures([8], 8e9, step, one)
    assert row['clips_per_s'] == pytest.approx(8 * 64 / 28)
    assert row['communication_ms'] == pytest.approx(14000)


positive = st.floats(1e-3, 1e3)
shares = st.floats(0, 1)


@given(
    counts=st.lists(st.integers(1, 4096), min_size=2, max_size=2).map(sorted),
    size=st.floats(1e3, 1e12),
    seconds=positive,
    backward=shares,
    overlap=shares,
    per_node=st.integers(1, 16),
    speeds=st.lists(st.floats(1e6, 1e12), min_size=2, max_size=2),
    latency=st.floats(0, 1e-2),
    way=st.sampled_from(['DDP', 'FSDP']),
)
def test_properties(
    scaling, counts, size, seconds, backward, overlap, per_node, speeds, latency, way
):
    step = scaling.Step(seconds, 1, backward)
    inter, intra = sorted(speeds)
    here = scaling.Links(per_node, intra, inter, latency, overlap)

    def of(gpus, links=here, way=way):
        return scaling.efficiency(gpus, size, step, links, way)

    few, many = counts
    slack = 1 + 1e-9
    assert 0 < of(many) <= of(few) * slack
    assert of(1) == 1
    assert of(many, way='FSDP') <= of(many, way='DDP') * slack
    perfect = replace(here, intra=float('inf'), inter=float('inf'), latency=0.0)
    assert of(many, perfect) == 1
    for faster in (
        replace(here, intra=2 * intra),
        replace(here, inter=2 * inter),
        replace(here, overlap=1.0),
    ):
        assert of(many) <= of(many, faster) * slack


def test_gradients_are_counted_from_the_config(scaling):
    path = CONFIGS / AMD
    model = build_on_meta(Config.fromfile(path))
    count = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert count > 22e6  # ViT-S alone
    assert scaling.gradient_bytes(Config.fromfile(path)) == dict(float32=4 * count)


@pytest.mark.parametrize(
    'name',
    [
        'videomae/pretrain/videomae_vit-small-p16_32xb64-16x4x1-800e_folder.py',
        'amd/image/amd_image_vit-small-p16_vit-large_16xb256-800e_folder.py',
    ],
)
def test_other_configs_are_counted_too(scaling, name):
    assert scaling.gradient_bytes(Config.fromfile(CONFIGS / name))['float32'] > 4 * 21e6


def test_as_a_program(tmp_path: Path) -> None:
    out = tmp_path / 'new folder' / 'figures.json'
    done = subprocess.run(
        [
            sys.executable,
            str(FOLDER / 'scaling.py'),
            str(CONFIGS / AMD),
            '--step-ms',
            '250',
            '--clips',
            '64',
            '--json',
            str(out),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    assert found['step']['seconds'] == 0.25
    assert [row['gpus'] for row in found['figures']] == [8, 8, 32, 32, 256, 256]
    rows = [line for line in done.stdout.splitlines() if line[:1] == '|'][2:]
    for row, values in zip(rows, found['figures'], strict=True):
        cells = [cell.strip() for cell in row.split('|')[1:-1]]
        assert cells[:2] == [str(values['gpus']), values['way']]
        assert cells[3] == f'{100 * values["efficiency"]:.1f} %'
    for assumed in ('gather(k, V, B)', '300 GB/s', '25 GB/s', '10 us', '80 %'):
        assert assumed in done.stdout


@pytest.mark.parametrize(
    'arguments, says',
    [
        (['missing.py'], 'there is no config file missing.py'),
        ([str(CONFIGS / AMD), '--intra-gbs', '0'], 'above 0'),
        ([str(CONFIGS / AMD), '--overlap', '2'], "'2' is no number from 0 to 1"),
    ],
)
def test_wrong_calls_stop_it(scaling, capsys, arguments, says):
    with pytest.raises(SystemExit) as caught:
        scaling.main([*arguments, '--step-ms', '1', '--clips', '1'])
    assert says in f'{caught.value}{capsys.readouterr().err}'
