"""Figures of the accuracy of each class, legible for hundreds of classes.

MMPretrain's and scikit-learn's confusion plots are legible up to some thirty classes.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from .style import BAD, GOOD, NEUTRAL, save_figure, styled

_ALL_NAMES = 60  # up to this number of classes, every bar has a name
_MATRIX_NAMES = 30  # … every row and column has a name
_MATRIX_VALUES = 15  # … every cell has its count
_ENDS = 15  # of more than _ALL_NAMES: the number of best and of worst that have names

Names = Sequence[str] | None


@styled
def draw_confusion_matrix(
    matrix: np.ndarray, names: Names, path: str | Path, title: str = 'Confusion matrix'
) -> Path:
    """Draw a confusion matrix, each row as shares of its class.

    Beside the matrix stand the most frequent confusions by name. The colour is the square root of
    the share, which makes rare confusions visible. Rows of classes without videos are grey.

    Args:
        matrix: (C, C), counts; rows are the true classes.
        names: C names; None shows numbers.
        path: the picture; its ending is the format.
        title: above the matrix.
    """
    count, videos = len(matrix), matrix.sum(1)
    share = np.ma.array(matrix / np.maximum(videos, 1)[:, None])
    share[videos == 0] = np.ma.masked
    side = float(np.clip(0.3 * count, 3.6, 9 if count <= 600 else 13))  # inches
    margin = 2.4 if names is not None and count <= _MATRIX_NAMES else 0.8
    width, height = margin + side + 5.6, margin + side + 0.5
    figure = Figure(figsize=(width, height), layout='none')  # type: ignore[arg-type]

    def axes_at(left: float, bottom: float, wide: float, high: float) -> Axes:
        return figure.add_axes((left / width, bottom / height, wide / width, high / height))

    axes = axes_at(margin, margin, side, side)
    axes.grid(visible=False)
    axes.set(facecolor='.88', xlabel='predicted class', ylabel='true class')
    image = axes.imshow(share, cmap='Blues', norm=PowerNorm(0.5, 0, 1), interpolation='nearest')
    steps = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
    ticks = range(count)
    if count > _MATRIX_NAMES:
        ticks = range(0, count, next(step for step in steps if count <= 20 * step))
    texts, turn = [str(tick) for tick in ticks], 0
    if names is not None and count <= _MATRIX_NAMES:
        texts, turn = [_shorten(name, 28) for name in names], 90
    axes.set_xticks(ticks, texts, rotation=turn)
    axes.set_yticks(ticks, texts)
    if count <= _MATRIX_VALUES:
        for row, column in zip(*np.nonzero(matrix)):
            colour = 'white' if share[row, column] > 0.3 else '.2'
            centre: dict[str, Any] = dict(ha='center', va='center', fontsize=8)
            axes.text(column, row, str(matrix[row, column]), color=colour, **centre)
    bar = figure.colorbar(
        image,
        cax=axes_at(margin + side + 0.15, margin + 0.15 * side, 0.15, 0.7 * side),
        ticks=[0, 0.05, 0.2, 0.5, 1],
        label='share of the true class',
    )
    bar.ax.set_yticklabels(['0', '5 %', '20 %', '50 %', '100 %'])
    _list_confusions(
        axes_at(margin + side + 1.2, 0.1, 4.3, margin + side - 0.1),
        matrix,
        names,
        margin + side - 0.1,
    )
    title = f'{title}: {matrix.sum()} videos, {count} classes{_without_videos(videos)}'
    figure.text(margin / width, 1 - 0.3 / height, title, fontsize=11)
    return save_figure(figure, path)


def _list_confusions(axes: Axes, matrix: np.ndarray, names: Names, height: float) -> None:
    """Write the most frequent confusions into axes of this height in inches."""
    axes.axis('off')
    mistakes = matrix - np.diag(np.diag(matrix))
    rows = min(25, int((height - 0.3) / (0.17 if names is None else 0.34)))
    order = np.argsort(-mistakes, axis=None, kind='stable')[:rows]
    # Names may be long: the predicted class has its own line.
    arrow = '  →  ' if names is None else '\n        →  '
    lines = [
        f'{mistakes[true, other]} of {matrix[true].sum()}:  '
        f'{_name(true, names)}{arrow}{_name(other, names)}'
        for true, other in zip(*np.unravel_index(order, matrix.shape))
        if mistakes[true, other]
    ]
    heading = 'most frequent confusions: videos, true → predicted class'
    axes.text(0, 1, heading if lines else 'no confusions', fontsize=9, weight='bold', va='top')
    axes.text(0, 1 - 0.25 / height, '\n'.join(lines), fontsize=7.5, va='top', linespacing=1.35)


@styled
def draw_class_accuracies(
    matrix: np.ndarray, names: Names, path: str | Path, title: str = 'Accuracy of each class'
) -> Path:
    """Draw the top-1 accuracy of each class as bars, best first.

    Up to 60 classes every bar has a name. Of more, all are drawn without names, and the 15 best
    and the 15 worst again with names. Classes without videos are left out.

    Args:
        matrix: (C, C), counts; rows are the true classes.
        names: C names; None shows numbers.
        path: the picture; its ending is the format.
        title: above the bars.
    """
    videos = matrix.sum(1)
    labels = np.flatnonzero(videos)
    share = 100 * np.diag(matrix)[labels] / videos[labels]
    order = np.argsort(-share, kind='stable')
    labels, share = labels[order], share[order]
    texts = [f'{_name(label, names)}  ({videos[label]})' for label in labels]
    if len(labels) <= _ALL_NAMES:
        figure = Figure(figsize=(8, 1.4 + 0.21 * len(labels)))
        bars = figure.subplots()
        _named_bars(bars, texts, share, NEUTRAL)
        bars.axvline(share.mean(), color='.25', linewidth=1, zorder=0.5)
        bars.set_xlabel('top-1 accuracy, % (videos of the class in brackets)')
    else:
        figure = Figure(figsize=(13, 7.6))
        panels = figure.subplot_mosaic('AB;AC', width_ratios=[1.1, 1])
        every, best, worst = panels['A'], panels['B'], panels['C']
        every.bar(np.arange(len(share)), share, width=1.0, color=NEUTRAL)
        every.axhline(share.mean(), color='.25', linewidth=1)
        where = (len(share) - 1, share.mean() + 1)
        every.text(*where, f'mean {share.mean():.1f}', ha='right', fontsize=8)
        every.set(xlim=(-0.5, len(share) - 0.5), ylim=(0, 100), title=f'all {len(share)}')
        every.set(xlabel='classes, best first', ylabel='top-1 accuracy, %')
        _named_bars(best, texts[:_ENDS], share[:_ENDS], GOOD)
        _named_bars(worst, texts[-_ENDS:], share[-_ENDS:], BAD)
        best.set_title(f'the {_ENDS} best')
        worst.set_title(f'the {_ENDS} worst')
        worst.set_xlabel('top-1 accuracy, % (videos in brackets)')
    mean = f'mean {share.mean():.1f} %, {len(share)} classes{_without_videos(videos)}'
    figure.suptitle(f'{title}: {mean}')
    return save_figure(figure, path)


def _named_bars(axes: Axes, texts: Sequence[str], values: np.ndarray, color: str) -> None:
    bars = axes.barh(np.arange(len(texts)), values, color=color, height=0.75)
    axes.bar_label(bars, fmt='%.1f', padding=2, fontsize=7)
    axes.set_yticks(np.arange(len(texts)), texts, fontsize=7.5)
    axes.set(xlim=(0, 107), ylim=(len(texts) - 0.4, -0.6))
    axes.grid(visible=False, axis='y')


@styled
def draw_class_differences(
    gains: Sequence[tuple[str, float]],
    losses: Sequence[tuple[str, float]],
    path: str | Path,
    title: str,
) -> Path:
    """Draw the classes that differ most between two models (AMD, supplement, figure S3).

    Args:
        gains: class and difference in percentage points, largest first.
        losses: class and negative difference, largest loss last.
        path: the picture; its ending is the format.
        title: names the models that are compared.
    """
    texts, values = [], []
    for text, value in (*gains, *losses):
        texts.append(_shorten(text, 60))
        values.append(value)
    figure = Figure(figsize=(8.5, 1.5 + 0.24 * max(len(values), 2)))
    axes = figure.subplots()
    places = np.arange(len(values))
    bars = axes.barh(
        places, values, color=[GOOD if value > 0 else BAD for value in values], height=0.75
    )
    axes.bar_label(bars, fmt='%+.1f', padding=3, fontsize=7.5)
    axes.set_yticks(places, texts)
    axes.grid(visible=False, axis='y')
    axes.axvline(0, color='.25', linewidth=0.8)
    if not values:
        axes.text(0, 0, 'no class differs', ha='center', va='center')
    reach = 1.2 * max(map(abs, values), default=1.0)
    left = -reach if losses or not values else 0
    right = reach if gains or not values else 0
    axes.set(xlim=(left, right), ylim=(max(len(values), 1) - 0.4, -0.6), title=title)
    axes.set_xlabel('difference in accuracy, percentage points')
    return save_figure(figure, path)


def _name(label: int, names: Names) -> str:
    return f'class {label}' if names is None else _shorten(names[label], 48)


def _shorten(text: str, width: int) -> str:
    """Cut out the middle of a long name: often the ends distinguish names."""
    half = width // 2
    return (
        text
        if len(text) <= width
        else f'{text[:half].rstrip()}…{text[half - width + 1 :].lstrip()}'
    )


def _without_videos(videos: np.ndarray) -> str:
    empty = int((videos == 0).sum())
    return f' ({empty} without videos)' if empty else ''
