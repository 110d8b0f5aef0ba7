"""Logs are read as MMEngine writes them, and drawn."""

import json
import math
from pathlib import Path

import cv2
import pytest
from amd_mm.errors import ConfigError
from amd_mm.visualization import draw_training_curves, read_series
from amd_mm.visualization.curves import smooth
from hypothesis import given
from hypothesis import strategies as st

from ..test_engine.toy import toy_runner
from .visualize_tools import run_tool


def write_log(work_dir: Path, stamp: str, entries: list) -> Path:
    folder = work_dir / stamp / 'vis_data'
    folder.mkdir(parents=True)
    lines = [json.dumps(entry) for entry in entries]
    (folder / 'scalars.json').write_text('\n'.join(lines) + '\n')
    return work_dir


def train(step: int, loss: float, epoch: int = 1) -> dict:
    return dict(lr=0.1, loss=loss, iter=step, epoch=epoch, step=step)


def test_a_resumed_run_is_one_curve(tmp_path: Path) -> None:
    write_log(tmp_path, '1', [train(step, 1.0) for step in (10, 20, 30, 40)])
    # Resumed after iteration 20, with another interval; killed inside a line.
    write_log(tmp_path, '2', [train(25, 0.5), train(50, 0.4)])
    log = tmp_path / '2' / 'vis_data' / 'scalars.json'
    log.write_text(log.read_text() + '{"loss": 0.')
    loss = read_series(tmp_path)['loss']
    assert loss.iterations == [10, 20, 25, 50]
    assert loss.values == [1.0, 1.0, 0.5, 0.4]


def test_validation_belongs_to_the_iteration_before_it(tmp_path: Path) -> None:
    entries = []
    for epoch in (1, 2, 3):
        entries += [train(8 * epoch - 3, 1.0, epoch), train(8 * epoch, 1.0, epoch)]
        # By epoch, as MMEngine's LoggerHook logs it by default.
        entries.append({'acc/top1': epoch / 10, 'time': 9.0, 'step': epoch})
    series = read_series(write_log(tmp_path, '1', entries))
    assert series['acc/top1'].iterations == [8, 16, 24]
    assert series['acc/top1'].epochs == [1, 2, 3]
    assert series['loss'].epochs == [5 / 8, 1, 13 / 8, 2, 21 / 8, 3]
    assert 'time' not in series


def test_a_real_run(tmp_path: Path) -> None:
    toy_runner(tmp_path, log_processor=dict(window_size=1)).train()
    logged = read_series(tmp_path)['loss_a']
    assert logged.iterations == [3, 7] and logged.epochs == [3 / 4, 7 / 4]
    path = tmp_path / 'new' / 'picture.png'
    assert run_tool('training_curves', f'toy={tmp_path}', '--out', path) == 0
    wide = cv2.imread(str(path)).shape[1]
    assert run_tool('training_curves', tmp_path, '--values', 'lr', '--out', path) == 0
    assert cv2.imread(str(path)).shape[1] < wide


def test_a_value_that_one_of_the_runs_logged(tmp_path: Path) -> None:
    runs = dict(
        alone=write_log(tmp_path / 'alone', 'a', [dict(loss_rec=1.0, step=1)]),
        amd=write_log(
            tmp_path / 'amd',
            'a',
            # Two decades: a logarithmic axis.
            [dict(loss_rec=1.0, loss_direct=10.0**-step, step=step) for step in (1, 2, 3)],
        ),
    )
    path = draw_training_curves(
        runs, tmp_path / 'x.png', ['loss_rec', 'loss_direct'], smoothing=0.5
    )
    assert cv2.imread(str(path)).std() > 5


@given(values=st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=20), weight=st.floats(0, 0.99))
def test_smoothing_is_a_weighted_mean_of_the_past(values: list, weight: float) -> None:
    smoothed = smooth(values, weight)
    for number, value in enumerate(smoothed):
        past = values[: number + 1]
        weights = [weight**age for age in range(len(past))][::-1]
        mean = sum(w * v for w, v in zip(weights, past)) / sum(weights)
        assert math.isclose(value, mean, rel_tol=1e-9, abs_tol=1e-7)


def test_smoothing_skips_nan() -> None:
    assert smooth([1.0, math.nan, 3.0], 0.0) == [1.0, 1.0, 3.0]
    assert smooth([2.0, math.nan], 0.5) == [2.0, 2.0]


@pytest.fixture
def runs(tmp_path: Path) -> dict:
    (tmp_path / 'none' / '1' / 'vis_data').mkdir(parents=True)
    return dict(
        run=write_log(tmp_path / 'run', '1', [dict(loss=1.0, lr=0.1, iter=1, step=1)]),
        other=write_log(tmp_path / 'x' / 'run', '1', [train(1, 1.0)]),
        empty=write_log(tmp_path / 'empty', '1', []),
        none=tmp_path / 'none',
        missing=tmp_path / 'missing',
    )


@pytest.mark.parametrize(
    'names, arguments, said',
    [
        (['missing'], [], 'give the work_dir of a training run'),
        (['none'], [], 'give the work_dir of a training run'),
        (['empty'], [], 'nothing was logged yet'),
        (['run', 'other'], [], 'NAME=WORK_DIR'),
        (['run'], ['--values', 'accuracy'], 'available: loss, lr'),
        (['run'], ['--axis', 'epochs'], 'run logged no epochs'),
        (['run'], ['--smooth', '1'], 'below 1, got 1.0'),
        (['run'], ['--out', 'x.what'], 'has to end in one of .png'),
    ],
)
def test_errors(
    names: list, arguments: list, said: str, runs: dict, capsys: pytest.CaptureFixture
) -> None:
    folders = [runs[name] for name in names]
    assert run_tool('training_curves', *folders, '--out', 'x.png', *arguments) == 1
    assert said in capsys.readouterr().err


def test_unknown_axis(runs: dict) -> None:
    with pytest.raises(ConfigError, match='axis must be one of'):
        draw_training_curves(dict(a=runs['run']), 'x.png', axis='hours')
