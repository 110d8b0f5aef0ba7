"""Figures of classes stay legible for any number of classes."""

import itertools
import warnings
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from amd_mm.visualization import (
    classes,
    draw_class_accuracies,
    draw_class_differences,
    draw_confusion_matrix,
)
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg


def make_matrix(count: int, empty: int = 0) -> np.ndarray:
    random = np.random.default_rng(0)
    matrix = np.zeros((count, count), dtype=np.int64)
    for label in range(empty, count):
        for _ in range(8):
            right = random.random() < 0.6
            matrix[label, label if right else random.integers(count)] += 1
    return matrix


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Iterator[list]:
    """The figures instead of files."""
    figures = []

    def keep(figure, path):
        figures.append(figure)
        figure.set_dpi(60)
        FigureCanvasAgg(figure).draw()
        return path

    monkeypatch.setattr(classes, 'save_figure', keep)
    with warnings.catch_warnings():
        warnings.simplefilter('error', UserWarning)  # a layout that failed
        yield figures


def overlap(axis: Axis) -> bool:
    boxes = [label.get_window_extent() for label in axis.get_ticklabels() if label.get_text()]
    return any(one.overlaps(other) for one, other in itertools.pairwise(boxes))


@pytest.mark.parametrize(
    'count, named', [(2, True), (12, False), (30, True), (31, True), (174, True)]
)
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


@pytest.mark.parametrize('draw', [draw_confusion_matrix, draw_class_accuracies])
def test_writes_files_without_a_display(
    draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv('DISPLAY', raising=False)
    path = draw(make_matrix(5), list('abcde'), tmp_path / 'new' / 'x.png')
    assert cv2.imread(str(path)).std() > 5
