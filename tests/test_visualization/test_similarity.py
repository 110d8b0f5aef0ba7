"""Linear CKA follows its definition and has the properties that it is used for."""

import csv
from pathlib import Path

import cv2
import pytest
import torch
from amd_mm.registry import MODELS
from amd_mm.visualization.similarity import (
    block_features,
    cka_matrix,
    draw_similarity,
    linear_cka,
    sample_tokens,
)
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ..tiny import amd, backbone, videomae
from ..tiny_image import dmae, mae
from .checkpoints import work_folder
from .visualize_tools import run_tool

SEEDS = st.integers(0, 2**31)
SIZES = st.integers(2, 12)


def features(seed: int, rows: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, width, generator=generator).double()


def hsic_cka(one: Tensor, other: Tensor) -> float:
    """By its definition: kernels, centring matrix, traces."""
    count = len(one)
    centre = torch.eye(count, dtype=one.dtype) - 1 / count

    def hsic(k: Tensor, l: Tensor) -> Tensor:  # noqa: E741, as in the paper
        return (k @ centre @ l @ centre).trace() / (count - 1) ** 2

    kernels = one @ one.T, other @ other.T
    norm = hsic(kernels[0], kernels[0]) * hsic(kernels[1], kernels[1])
    return float(hsic(*kernels) / norm.sqrt())


@given(seed=SEEDS, rows=SIZES, widths=st.tuples(SIZES, SIZES))
def test_equals_the_definition(seed: int, rows: int, widths: tuple) -> None:
    one, other = (features(seed + index, rows, width) + 5 for index, width in enumerate(widths))
    value = linear_cka(one, other)
    assert value == pytest.approx(hsic_cka(one, other), abs=1e-9)
    assert value == pytest.approx(linear_cka(other, one), abs=1e-9)
    assert -1e-9 < value < 1 + 1e-9


@given(
    seed=SEEDS,
    rows=st.integers(3, 12),
    width=SIZES,
    scale=st.floats(1e-3, 1e3),
    shift=st.floats(-10, 10),
)
def test_rotation_scale_and_shift_change_nothing(
    seed: int, rows: int, width: int, scale: float, shift: float
) -> None:
    one, other = features(seed, rows, width), features(seed + 1, rows, 5)
    turn = torch.linalg.qr(features(seed + 2, width, width)).Q
    moved = scale * one @ turn + shift
    assert linear_cka(one, moved) == pytest.approx(1, abs=1e-9)
    assert linear_cka(moved, other) == pytest.approx(linear_cka(one, other), abs=1e-9)
    # A stretch of one direction does change it.
    stretched = moved @ torch.diag(torch.tensor([9.0] + [1.0] * (width - 1)).double())
    assert linear_cka(one, stretched) < 1 - 1e-6


def test_unrelated_features_are_near_zero() -> None:
    one, other = features(0, 4000, 6), features(1, 4000, 6)
    assert linear_cka(one, other) < 0.01
    assert linear_cka(one, torch.ones(4000, 3)) == 0
    with pytest.raises(ValueError, match=r'\[5, 6\] rows'):
        linear_cka(one[:5], other[:6])


def test_float32_is_close_enough_with_an_outlying_channel() -> None:
    one, other = features(0, 300, 20), features(1, 300, 30)
    one[:, 3] = 1e3 * one[:, 3] + 1e4
    other[:, :20] += one / 10
    single = cka_matrix([one.float()], [other.float(), one.float()])
    double = cka_matrix([one], [other, one])
    torch.testing.assert_close(single, double, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    'cfg, shape',
    [(backbone(), (2, 3, 8, 64, 64)), (mae()['backbone'], (2, 3, 64, 64))],
    ids=['video', 'image'],
)
def test_features_are_those_of_the_chosen_layers_and_tokens(cfg: dict, shape: tuple) -> None:
    vit = MODELS.build(cfg).eval()
    vit.init_weights()
    inputs, tokens = torch.randn(shape), vit.token_grid[0] * 16
    chosen = sample_tokens(2, tokens, 11)
    assert chosen.shape == (2, 5) and chosen.max() < tokens
    found = block_features(vit, inputs, chosen)
    with torch.no_grad():
        layers = vit.encode(vit.patchify(inputs), layers=[2, 4]).layers
    for block, layer in zip((found[1], found[3]), layers):
        layer = layer[:, vit.num_extra_tokens :]
        expected = torch.stack([layer[clip, token] for clip in (0, 1) for token in chosen[clip]])
        torch.testing.assert_close(block, expected, rtol=1e-4, atol=1e-4)


def test_layer_pairs_are_framed(tmp_path: Path) -> None:
    values = torch.rand(4, 6)
    pictures = [
        cv2.imread(str(draw_similarity(values, tmp_path / name, pairs)))
        for name, pairs in (('a.png', []), ('b.png', [(2, 3), (4, 6)]))
    ]
    colour = torch.tensor([0x00, 0x5E, 0xD5])  # BGR of the frame
    counts = [int((torch.tensor(p) == colour).all(-1).sum()) for p in pictures]
    assert counts[0] == 0 and counts[1] > 100


def tool(*arguments: object) -> int:
    return run_tool('cka', '--device', 'cpu', *arguments)


def read_table(picture: Path) -> list[dict]:
    with picture.with_suffix('.csv').open() as file:
        return list(csv.DictReader(file))


def test_the_tool(tmp_path: Path, tiny_videos: list, capsys: pytest.CaptureFixture) -> None:
    teacher = work_folder(tmp_path / 'teacher', videomae(backbone=backbone(64, 6, 1)))
    (teacher.parent / 'last_checkpoint').unlink()  # or its own config would be found
    cfg = amd()
    student = work_folder(tmp_path / 'student', cfg)
    out = tmp_path / 'new' / 'cka.png'
    call = (*tiny_videos[:2], '--student', student, '--out', out)
    # The config's teacher has random weights: there is no file.
    assert tool(*call) == 1
    assert 'names no checkpoint of the teacher' in capsys.readouterr().err
    assert tool(*call, '--teacher', teacher) == 0
    said = capsys.readouterr().out
    assert '128 patches of 2 inputs, features up to 64 wide' in said
    assert 'block 2 of the student, 3 of the teacher (aligned' in said
    values = read_table(out)
    assert len(values) == 4 * 6
    assert all(0 <= float(line['cka']) <= 1 for line in values)
    # The teacher that the config names.
    cfg['teacher'].update(checkpoint=str(teacher), random_init=False)
    named = work_folder(tmp_path / 'named', cfg)
    assert tool(*tiny_videos[:2], '--student', named, '--out', out) == 0
    assert len(read_table(out)) == 4 * 6
    # The student itself.
    config = tmp_path / 'student' / 'config.py'
    assert tool(*call, '--teacher', student, config) == 0
    same = [line for line in read_table(out) if line['student'] == line['teacher']]
    assert len(same) == 4
    for line in same:
        assert float(line['cka']) == pytest.approx(1, abs=1e-5)


def test_errors(tmp_path: Path, tiny_videos: list, capsys: pytest.CaptureFixture) -> None:
    video = work_folder(tmp_path / 'video', videomae())
    image = work_folder(tmp_path / 'image', dmae())
    for call, said in (
        (('--student', video), 'has no teacher'),
        (('--student', video, '--teacher', image), 'the grids (time'),
        (('--student', 'a', 'b', 'c'), 'give CHECKPOINT'),
        (('--student', video, '--rows', '1'), 'at least 2'),
    ):
        assert tool(tiny_videos[0], *call, '--out', tmp_path / 'x.png') == 1
        assert said in capsys.readouterr().err
