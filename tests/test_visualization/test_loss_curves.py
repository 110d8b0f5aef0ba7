"""Curves are read from logs as MMEngine writes them, and drawn."""

import json
from pathlib import Path

import cv2
import pytest
from amd_mm.visualization import draw_loss_curves, read_scalars


def write_log(work_dir: Path, stamp: str, entries: list) -> None:
    folder = work_dir / stamp / 'vis_data'
    folder.mkdir(parents=True)
    lines = [json.dumps(entry) for entry in entries]
    (folder / 'scalars.json').write_text('\n'.join(lines) + '\n')


def test_later_logs_of_a_resumed_run_win(tmp_path: Path) -> None:
    write_log(
        tmp_path,
        '20260101_000000',
        [dict(loss_rec=1.0, step=10), dict(loss_rec=0.9, step=20), dict(loss_rec=0.1, step=30)],
    )
    write_log(
        tmp_path, '20260101_010000', [dict(loss_rec=0.8, step=30), dict(loss_rec=0.7, step=40)]
    )
    assert read_scalars(tmp_path)['loss_rec'] == ([10, 20, 30, 40], [1.0, 0.9, 0.8, 0.7])


def test_half_a_line_of_a_killed_run_is_passed_over(tmp_path: Path) -> None:
    write_log(tmp_path, 'a', [dict(loss_rec=1.0, step=10)])
    log = tmp_path / 'a' / 'vis_data' / 'scalars.json'
    log.write_text(log.read_text() + '{"loss_rec": 0.')
    assert read_scalars(tmp_path)['loss_rec'] == ([10], [1.0])


def test_draws_a_panel_for_every_loss_of_any_run(tmp_path: Path) -> None:
    write_log(
        tmp_path / 'alone', 'a', [dict(loss_rec=1.0 / step, step=step) for step in range(1, 5)]
    )
    write_log(
        tmp_path / 'amd',
        'a',
        [dict(loss_rec=0.5 / step, loss_direct=2.0 / step, step=step) for step in range(1, 5)],
    )
    one = draw_loss_curves(dict(alone=tmp_path / 'alone'), tmp_path / '1.png')
    both = draw_loss_curves(
        {name: tmp_path / name for name in ('alone', 'amd')}, tmp_path / 'new' / '2.png'
    )
    assert cv2.imread(str(both)).shape[1] > 1.5 * cv2.imread(str(one)).shape[1]


def test_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=str(tmp_path)):
        read_scalars(tmp_path)
    write_log(tmp_path, 'a', [dict(accuracy=1.0, step=1)])
    with pytest.raises(ValueError, match='loss_rec'):
        draw_loss_curves(dict(run=tmp_path), tmp_path / 'x.png')
