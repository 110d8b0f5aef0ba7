"""Logs are read as MMEngine writes them; plots of classes stay legible for any number."""

import itertools
import json
import math
import warnings
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from amd_mm.visualization import (
    draw_class_accuracies,
    draw_class_differences,
    draw_confusion_matrix,
    draw_training_curves,
    plots,
    read_series,
)
from amd_mm.visualization.plots import smooth
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg

from ..test_engine.toy import toy_runner


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Iterator[list]:
    """The figures instead of files."""
    figures = []

    def keep(figure, path):
        figures.append(figure)
        figure.set_dpi(40)
        FigureCanvasAgg(figure).draw()
        return path

    monkeypatch.setattr(plots, 'save_figure', keep)
    with warnings.catch_warnings():
        warnings.simplefilter('error', UserWarning)  # a layout that failed
        yield figures


# -- training curves ---------------------------------------------------------------------------


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


def test_the_log_of_a_run(tmp_path: Path) -> None:
    toy_runner(tmp_path, log_processor=dict(window_size=1)).train()
    logged = read_series(tmp_path)['loss_a']
    assert logged.iterations == [3, 7] and logged.epochs == [3 / 4, 7 / 4]


def test_curves_are_smooth_where_asked(tmp_path: Path, drawn: list) -> None:
    zigzag = [dict(lr=step % 2, loss_rec=step % 2, iter=step, step=step) for step in range(1, 101)]
    alone = write_log(tmp_path / 'alone', 'a', zigzag)
    # Two decades: a logarithmic axis.
    direct = [dict(loss_direct=10.0**-step, iter=step, step=step) for step in (1, 2, 3)]
    runs = dict(alone=alone, amd=write_log(tmp_path / 'amd', 'a', direct))
    draw_training_curves(runs, 'x.png', ['loss_rec', 'loss_direct', 'lr'], smoothing=0.1)
    rec, direct, lr = drawn[0].axes
    pale, shown = (line.get_ydata() for line in rec.lines)
    assert np.ptp(pale[20:]) == 1 and np.ptp(shown[20:]) < 0.2
    assert direct.get_yscale() == 'log' and rec.get_yscale() == 'linear'
    assert [np.ptp(line.get_ydata()) for line in lr.lines] == [1]
    draw_training_curves(runs, 'x.png', ['loss_rec'], smoothing=0)
    assert len(drawn[1].axes[0].lines) == 1


def test_smoothing_is_a_centred_mean() -> None:
    random = np.random.default_rng(0)
    steps = np.sort(random.choice(1000, 60, replace=False))
    values = random.normal(size=60)
    values[7] = math.nan
    smoothed = smooth(steps, values, 0.2)
    width = 0.1 * (steps[-1] - steps[0])
    for index, step in enumerate(steps):
        inside = np.abs(steps - step) <= min(width, step - steps[0])
        assert smoothed[index] == pytest.approx(np.nanmean(values[inside]))
    assert smoothed[0] == values[0]


# -- classes -----------------------------------------------------------------------------------


def make_matrix(count: int, empty: int = 0) -> np.ndarray:
    random = np.random.default_rng(0)
    matrix = np.zeros((count, count), dtype=np.int64)
    for label in range(empty, count):
        for _ in range(8):
            right = random.random() < 0.6
            matrix[label, label if right else random.integers(count)] += 1
    return matrix


def overlap(axis: Axis) -> bool:
    boxes = [label.get_window_extent() for label in axis.get_ticklabels() if label.get_text()]
    return any(one.overlaps(other) for one, other in itertools.pairwise(boxes))


@pytest.mark.parametrize('count, named', [(2, True), (31, False), (174, True)])
def test_texts_neither_overlap_nor_leave_the_figure(drawn: list, count: int, named: bool) -> None:
    names = [f'Pretending to put something next to number {one}' for one in range(count)]
    matrix = make_matrix(count, empty=1)
    for draw in (draw_confusion_matrix, draw_class_accuracies):
        draw(matrix, names if named else None, 'x.png')
    for figure in drawn:
        assert max(figure.get_size_inches()) < 20
        for axes in figure.axes:
            assert not overlap(axes.xaxis) and not overlap(axes.yaxis)
            for text in [*axes.get_yticklabels(), *axes.texts]:
                box = text.get_window_extent()
                assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 + 1
    image = drawn[0].axes[0].images[0].get_array()
    assert image.mask[0].all() and not image.mask[1:].any()
    np.testing.assert_allclose(image[1:].sum(1), 1)


def test_bars_are_sorted_and_complete(drawn: list) -> None:
    draw_class_accuracies(make_matrix(70, empty=2), None, 'x.png')
    every, best, worst = drawn[0].axes
    heights = [bar.get_height() for bar in every.patches]
    assert len(heights) == 68
    assert heights == sorted(heights, reverse=True)
    assert [bar.get_width() for bar in best.patches] == heights[:15]
    assert [bar.get_width() for bar in worst.patches] == heights[-15:]
    assert '68 classes (2 without videos)' in drawn[0].get_suptitle()


def test_gains_and_losses(drawn: list) -> None:
    gains = [('a', 12.5), ('b costs $5 or $6', 2.0)]
    draw_class_differences(gains, [('c', -4.0)], 'x.png', 'A against B')
    axes = drawn[0].axes[0]
    assert [bar.get_width() for bar in axes.patches] == [12.5, 2.0, -4.0]
    colors = [bar.get_facecolor() for bar in axes.patches]
    assert colors[0] == colors[1] != colors[2]
    assert [text.get_text() for text in axes.texts] == ['+12.5', '+2.0', '-4.0']


def test_nothing_to_show(drawn: list) -> None:
    draw_class_differences([], [], 'x.png', 'A against A')
    assert drawn[0].axes[0].texts[0].get_text() == 'no class differs'
    draw_confusion_matrix(3 * np.eye(4, dtype=np.int64), None, 'x.png')
    assert 'no confusions' in [text.get_text() for axes in drawn[1].axes for text in axes.texts]


def test_writes_files_without_a_display(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv('DISPLAY', raising=False)
    path = draw_class_accuracies(make_matrix(5), list('abcde'), tmp_path / 'new' / 'x.png')
    assert cv2.imread(str(path)).std() > 5
