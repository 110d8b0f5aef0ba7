"""Logs are read as MMEngine writes them, and drawn."""

import json
import math
from pathlib import Path

import cv2
import pytest
from amd_mm.visualization import read_series
from amd_mm.visualization.errors import VisualizationError
from amd_mm.visualization.training_curves import named_runs, smooth
from hypothesis import given
from hypothesis import strategies as st

from ..test_engine.toy import ToyModel, toy_runner
from .visualize_tools import run_tool


def write_log(work_dir: Path, stamp: str, entries: list) -> None:
    folder = work_dir / stamp / 'vis_data'
    folder.mkdir(parents=True)
    lines = [json.dumps(entry) for entry in entries]
    (folder / 'scalars.json').write_text('\n'.join(lines) + '\n')


def train(step: int, loss: float, epoch: int = 1) -> dict:
    return dict(lr=0.1, loss=loss, iter=step, epoch=epoch, step=step)


def curves(*arguments: object) -> int:
    return run_tool('training_curves', *arguments)


def test_a_resumed_run_forgets_what_it_did_again(tmp_path: Path) -> None:
    write_log(tmp_path, '1', [train(step, 1.0) for step in (10, 20, 30, 40)])
    # Resumed after iteration 20, and logging less often.
    write_log(tmp_path, '2', [train(25, 0.5), train(50, 0.4)])
    loss = read_series(tmp_path)['loss']
    assert loss.iterations == [10, 20, 25, 50]
    assert loss.values == [1.0, 1.0, 0.5, 0.4]


def test_validation_belongs_to_the_iteration_before_it(tmp_path: Path) -> None:
    entries = []
    for epoch in (1, 2, 3):
        entries.append(train(8 * epoch - 3, 1.0, epoch))
        entries.append(train(8 * epoch, 1.0, epoch))
        # By the epoch, as MMEngine's LoggerHook logs it by default.
        entries.append({'acc/top1': epoch / 10, 'time': 9.0, 'step': epoch})
    write_log(tmp_path, '1', entries)
    series = read_series(tmp_path)
    assert series['acc/top1'].iterations == [8, 16, 24]
    assert series['acc/top1'].epochs == [1, 2, 3]
    assert series['loss'].epochs == [5 / 8, 1, 13 / 8, 2, 21 / 8, 3]
    assert 'time' not in series


def test_of_a_real_run(tmp_path: Path) -> None:
    runner = toy_runner(tmp_path, log_processor=dict(window_size=1))
    runner.train()
    logged = read_series(tmp_path)['loss_a']
    assert logged.iterations == [3, 7] and logged.epochs == [3 / 4, 7 / 4]
    path = tmp_path / 'picture.png'
    assert curves(f'toy={tmp_path}', '--out', path) == 0
    wide = cv2.imread(str(path)).shape[1]
    assert curves(tmp_path, '--values', 'lr', '--out', path) == 0
    assert cv2.imread(str(path)).shape[1] < wide
    assert isinstance(runner.model, ToyModel)


@given(values=st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=20), weight=st.floats(0, 0.99))
def test_smoothing_is_an_average_of_the_past(values: list, weight: float) -> None:
    smoothed = smooth(values, weight)
    for number, value in enumerate(smoothed):
        past = values[: number + 1]
        weights = [weight**age for age in range(len(past))][::-1]
        mean = sum(w * v for w, v in zip(weights, past)) / sum(weights)
        assert math.isclose(value, mean, rel_tol=1e-9, abs_tol=1e-7)


def test_smoothing_passes_over_what_is_no_number() -> None:
    assert smooth([1.0, math.nan, 3.0], 0.0) == [1.0, 1.0, 3.0]
    assert smooth([2.0, math.nan], 0.5) == [2.0, 2.0]


def test_names_of_runs(tmp_path: Path) -> None:
    runs = named_runs([f'mine={tmp_path}', str(tmp_path / 'b')])
    assert runs == {'mine': str(tmp_path), 'b': str(tmp_path / 'b')}
    odd = tmp_path / 'lr=1'
    odd.mkdir()
    assert named_runs([str(odd)]) == {'lr=1': str(odd)}
    with pytest.raises(VisualizationError, match='both called b'):
        named_runs(['x/b', 'y/b'])


def test_what_is_wrong_is_said(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    run, empty, other = (tmp_path / name for name in ('run', 'empty', 'other'))
    write_log(run, '1', [dict(loss=1.0, lr=0.1, iter=1, step=1)])
    (empty / '1' / 'vis_data').mkdir(parents=True)
    write_log(other, '1', [])
    out = ('--out', tmp_path / 'x.png')
    for call, said in (
        ((tmp_path / 'no', *out), f'there is no folder {tmp_path}/no'),
        ((empty, *out), 'give the work_dir of a training run'),
        ((other, *out), 'nothing was logged yet'),
        ((run, *out, '--values', 'accuracy'), 'there is loss, lr'),
        ((run, *out, '--axis', 'epochs'), 'run logged no epochs'),
        ((run, *out, '--smooth', '1'), 'below 1, got 1.0'),
        ((run, '--out', tmp_path / 'x.what'), 'has to end in .png'),
    ):
        assert curves(*call) == 2
        error = capsys.readouterr().err
        assert said in error and error.count('\n') == 1
