"""Pictures of classes stay readable, whatever their number."""

import itertools
import warnings

import cv2
import numpy as np
import pytest
from amd_mm.visualization import (
    classes,
    draw_class_accuracies,
    draw_class_differences,
    draw_confusion_matrix,
)
from matplotlib.backends.backend_agg import FigureCanvasAgg


def make_matrix(count, per_class=8, empty=0):
    random = np.random.default_rng(0)
    matrix = np.zeros((count, count), dtype=np.int64)
    for label in range(empty, count):
        for _ in range(per_class):
            right = random.random() < 0.6
            other = label if right else random.integers(count)
            matrix[label, other] += 1
    return matrix


@pytest.fixture
def drawn(monkeypatch):
    """The figures instead of files."""
    figures = []

    def keep(figure, path):
        figures.append(figure)
        figure.set_dpi(60)
        FigureCanvasAgg(figure).draw()
        return path

    monkeypatch.setattr(classes, 'save_figure', keep)
    with warnings.catch_warnings():
        # E.g. of a layout that failed.
        warnings.simplefilter('error', UserWarning)
        yield figures


def overlapping(axis):
    """Whether tick labels lie over each other."""
    boxes = [label.get_window_extent() for label in axis.get_ticklabels() if label.get_text()]
    return any(one.overlaps(other) for one, other in itertools.pairwise(boxes))


@pytest.mark.parametrize(
    'count, named', [(2, True), (12, False), (30, True), (31, True), (174, True), (400, False)]
)
def test_no_ticks_over_each_other(drawn, count, named):
    names = (
        [f'Pretending to put something next to number {label}' for label in range(count)]
        if named
        else None
    )
    matrix = make_matrix(count, empty=1)
    draw_confusion_matrix(matrix, names, 'x.png')
    draw_class_accuracies(matrix, names, 'x.png')
    for figure in drawn:
        assert max(figure.get_size_inches()) < 20
        whole = figure.bbox
        for axes in figure.axes:
            assert not overlapping(axes.xaxis)
            assert not overlapping(axes.yaxis)
            for text in [*axes.get_yticklabels(), *axes.texts]:
                box = text.get_window_extent()
                assert whole.x0 <= box.x0 and box.x1 <= whole.x1 + 1
    image = drawn[0].axes[0].images[0].get_array()
    assert image.mask[0].all() and not image.mask[1:].any()
    np.testing.assert_allclose(image[1:].sum(1), 1)


def test_bars_are_sorted_and_all_there(drawn):
    matrix = make_matrix(70, empty=2)
    draw_class_accuracies(matrix, None, 'x.png')
    every, best, worst = drawn[0].axes
    heights = [bar.get_height() for bar in every.patches]
    assert len(heights) == 68
    assert heights == sorted(heights, reverse=True)
    assert [bar.get_width() for bar in best.patches] == heights[:15]
    assert [bar.get_width() for bar in worst.patches] == heights[-15:]
    assert 'mean' in drawn[0].get_suptitle()
    assert '68 classes (2 without videos)' in drawn[0].get_suptitle()


def test_gains_to_the_right_and_losses_to_the_left(drawn):
    draw_class_differences(
        [('a', 12.5), ('b costs $5 or $6', 2.0)], [('c', -4.0)], 'x.png', 'A against B'
    )
    axes = drawn[0].axes[0]
    assert [bar.get_width() for bar in axes.patches] == [12.5, 2.0, -4.0]
    colors = [bar.get_facecolor() for bar in axes.patches]
    assert colors[0] == colors[1] != colors[2]
    assert [text.get_text() for text in axes.texts] == ['+12.5', '+2.0', '-4.0']


def test_nothing_to_show_is_said(drawn):
    draw_class_differences([], [], 'x.png', 'A against A')
    assert drawn[0].axes[0].texts[0].get_text() == 'no class differs'
    draw_confusion_matrix(3 * np.eye(4, dtype=np.int64), None, 'x.png')
    assert 'no confusions' in [text.get_text() for axes in drawn[1].axes for text in axes.texts]


def test_writes_files_without_a_display(tmp_path, monkeypatch):
    monkeypatch.delenv('DISPLAY', raising=False)
    matrix = make_matrix(5)
    for draw in (draw_confusion_matrix, draw_class_accuracies):
        path = draw(matrix, list('abcde'), tmp_path / 'new' / 'x.png')
        assert cv2.imread(str(path)).std() > 5
