"""Pictures of how well each class is recognised, readable for hundreds."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from .loss_curves import save_figure

_GOOD, _BAD, _PLAIN, _NOTHING = '#2a6fb0', '#c8642b', '#6b8fb3', '.88'
_ALL_NAMES = 60
"""Up to so many classes every bar has its name."""
_MATRIX_NAMES = 30
"""Up to so many classes the rows and columns of a matrix have names."""
_MATRIX_VALUES = 15
_ENDS = 15
"""Of more classes than can be named: how many of the best and the worst."""

Names = Sequence[str] | None


def _name(label: int, names: Names, width: int = 48) -> str:
    """A class in a picture, by its name or its number."""
    return f'class {label}' if names is None else _cut(str(names[label]), width)


def _cut(text: str, width: int) -> str:
    """Without the middle, if it is too long: often the ends tell apart."""
    if len(text) > width:
        half = width // 2
        text = f'{text[:half].rstrip()}…{text[half - width + 1 :].lstrip()}'
    return text.replace('$', r'\$')  # a dollar would start a formula


def draw_confusion_matrix(
    matrix: np.ndarray, names: Names, path: str | Path, title: str = 'Confusion matrix'
) -> Path:
    """Draw a confusion matrix, each row as shares of its class.

    Rows and columns have names up to 30 classes; beyond, every so many a
    number. Beside the matrix are the most frequent confusions, by name. The
    colours rise with the square root, so that rare confusions are seen. The
    rows of classes without videos are grey.

    Args:
        matrix (np.ndarray): (C, C), counts; rows are the true classes.
        names (Sequence[str], optional): C names; numbers if None.
        path (str | Path): The picture to write; its ending is the format.
        title (str): Over the picture.

    Returns:
        Path: The picture.
    """
    count, videos = len(matrix), matrix.sum(1)
    share = matrix / np.maximum(videos, 1)[:, None]
    share = np.ma.array(share, mask=np.repeat(videos[:, None] == 0, count, axis=1))
    side = float(np.clip(0.3 * count, 3.6, 9 if count <= 600 else 13))
    margin = 2.4 if count <= _MATRIX_NAMES and names is not None else 0.8
    # In inches: matrix, scale and list beside each other.
    width, height = margin + side + 5.6, margin + side + 0.5
    figure = Figure(figsize=(width, height))

    def axes_at(left: float, bottom: float, wide: float, high: float) -> Axes:
        return figure.add_axes((left / width, bottom / height, wide / width, high / height))

    axes = axes_at(margin, margin, side, side)
    axes.set_facecolor(_NOTHING)
    image = axes.imshow(share, cmap='Blues', norm=PowerNorm(0.5, 0, 1), interpolation='nearest')
    _label_matrix(axes, count, names)
    if count <= _MATRIX_VALUES:
        _write_values(axes, matrix, share)
    bar = figure.colorbar(
        image,
        cax=axes_at(margin + side + 0.15, margin + 0.15 * side, 0.15, 0.7 * side),
        ticks=[0, 0.05, 0.2, 0.5, 1],
    )
    bar.set_label('share of the true class', fontsize=8)
    bar.ax.set_yticklabels(['0', '5 %', '20 %', '50 %', '100 %'], fontsize=8)
    listing = axes_at(margin + side + 1.2, 0.1, 4.3, margin + side - 0.1)
    _list_confusions(listing, matrix, names, margin + side - 0.1)
    figure.text(
        margin / width,
        1 - 0.3 / height,
        f'{title}: {matrix.sum()} videos, {count} classes' + _without_videos(videos),
        fontsize=11,
    )
    return save_figure(figure, path)


def _without_videos(videos: np.ndarray) -> str:
    empty = int((videos == 0).sum())
    return f' ({empty} without videos)' if empty else ''


def _label_matrix(axes: Axes, count: int, names: Names) -> None:
    axes.set_xlabel('predicted class')
    axes.set_ylabel('true class')
    if count <= _MATRIX_NAMES:
        ticks = list(range(count))
        texts = (
            [str(tick) for tick in ticks] if names is None else [_name(t, names, 28) for t in ticks]
        )
        axes.set_xticks(ticks, texts, fontsize=8, rotation=0 if names is None else 90)
    else:
        step = next(
            size for size in (2, 5, 10, 20, 50, 100, 200, 500, 1000, count) if count / size <= 20
        )
        ticks = list(range(0, count, step))
        texts = [str(tick) for tick in ticks]
        axes.set_xticks(ticks, texts, fontsize=8)
    axes.set_yticks(ticks, texts, fontsize=8)


def _write_values(axes: Axes, matrix: np.ndarray, share: np.ndarray) -> None:
    for row, column in zip(*np.nonzero(matrix)):
        axes.text(
            column,
            row,
            str(matrix[row, column]),
            ha='center',
            va='center',
            fontsize=8,
            color='white' if share[row, column] > 0.3 else '.2',
        )


def _list_confusions(axes: Axes, matrix: np.ndarray, names: Names, height: float) -> None:
    """The most frequent confusions as text: true class, predicted class.

    Args:
        axes (Axes): Only for the text.
        matrix (np.ndarray): (C, C), counts.
        names (Sequence[str], optional): C names.
        height (float): Of the axes, in inches.
    """
    axes.axis('off')
    mistakes = matrix - np.diag(np.diag(matrix))
    rows = int((height - 0.3) / (0.17 if names is None else 0.34))
    order = np.argsort(-mistakes, axis=None, kind='stable')[: min(rows, 25)]
    lines = []
    for true, other in zip(*np.unravel_index(order, matrix.shape)):
        if mistakes[true, other]:
            # Names may be long: the predicted one has a line of its own.
            gap = '  →  ' if names is None else '\n        →  '
            lines.append(
                f'{mistakes[true, other]} of {matrix[true].sum()}:  '
                f'{_name(true, names)}{gap}{_name(other, names)}'
            )
    axes.text(
        0,
        1,
        'most frequent confusions: videos, true → predicted class' if lines else 'no confusions',
        fontsize=9,
        weight='bold',
        va='top',
    )
    axes.text(
        0, 1 - 0.25 / height, '\n'.join(lines), fontsize=7.5, va='top', linespacing=1.35, color='.2'
    )


def draw_class_accuracies(
    matrix: np.ndarray, names: Names, path: str | Path, title: str = 'Accuracy of each class'
) -> Path:
    """Draw the top-1 accuracy of each class as bars, sorted.

    Up to 60 classes every bar has its name. Of more, all are drawn without
    names, and the 15 best and the 15 worst again with them. Classes without
    videos are left out.

    Args:
        matrix (np.ndarray): (C, C), counts; rows are the true classes.
        names (Sequence[str], optional): C names; numbers if None.
        path (str | Path): The picture to write; its ending is the format.
        title (str): Over the picture.

    Returns:
        Path: The picture.
    """
    videos = matrix.sum(1)
    labels = np.flatnonzero(videos)
    share = 100 * np.diag(matrix)[labels] / videos[labels]
    order = np.argsort(-share, kind='stable')
    labels, share = labels[order], share[order]
    texts = [f'{_name(one, names)}  ({videos[one]})' for one in labels]
    if len(labels) <= _ALL_NAMES:
        figure = Figure(figsize=(8, 1.4 + 0.21 * len(labels)), layout='constrained')
        axes = figure.subplots()
        _named_bars(axes, texts, share, _PLAIN)
        axes.axvline(share.mean(), color='.25', linewidth=1, zorder=0.5)
        axes.set_xlabel('top-1 accuracy, % (videos of the class in brackets)')
    else:
        figure = Figure(figsize=(13, 7.6), layout='constrained')
        panels = figure.subplot_mosaic('AB;AC', width_ratios=[1.1, 1])
        _all_bars(panels['A'], share)
        for panel, part, what, color in (
            ('B', slice(_ENDS), 'best', _GOOD),
            ('C', slice(-_ENDS, None), 'worst', _BAD),
        ):
            _named_bars(panels[panel], texts[part], share[part], color)
            panels[panel].set_title(f'the {_ENDS} {what}', fontsize=10)
        panels['C'].set_xlabel('top-1 accuracy, % (videos in brackets)')
    figure.suptitle(
        f'{title}: mean {share.mean():.1f} %, {len(labels)} classes{_without_videos(videos)}'
    )
    return save_figure(figure, path)


def _named_bars(
    axes: Axes, texts: Sequence[str], values: Sequence[float], color: str | list[str]
) -> None:
    """Horizontal bars of percentages, the first on top."""
    places = np.arange(len(texts))
    axes.barh(places, values, color=color, height=0.75)
    axes.set_yticks(places, texts, fontsize=7.5)
    axes.set_ylim(len(texts) - 0.4, -0.6)
    axes.set_xlim(0, 107)
    for place, value in zip(places, values):
        axes.text(
            value + 0.7,
            place,
            f'{value:.1f}',
            va='center',
            fontsize=7,
            color='.3',
            bbox=dict(facecolor='white', edgecolor='none', pad=0.5),
        )
    axes.spines[['top', 'right']].set_visible(False)


def _all_bars(axes: Axes, share: np.ndarray) -> None:
    axes.bar(np.arange(len(share)), share, width=1.0, color=_PLAIN)
    axes.axhline(share.mean(), color='.25', linewidth=1)
    axes.text(
        len(share) - 1,
        share.mean() + 1,
        f'mean {share.mean():.1f}',
        ha='right',
        fontsize=8,
        color='.25',
    )
    axes.set(
        xlim=(-0.5, len(share) - 0.5),
        ylim=(0, 100),
        xlabel='classes, from the best to the worst',
        ylabel='top-1 accuracy, %',
    )
    axes.set_title(f'all {len(share)}', fontsize=10)
    axes.spines[['top', 'right']].set_visible(False)


def draw_class_differences(
    gains: Sequence[tuple[str, float]],
    losses: Sequence[tuple[str, float]],
    path: str | Path,
    title: str,
) -> Path:
    """Draw the classes with the largest differences between two models.

    As Figure S3 in the supplement of the AMD paper: bars to the right for
    the gains, to the left for the losses.

    Args:
        gains (Sequence[tuple[str, float]]): Class and positive difference in
            percentage points, the largest first.
        losses (Sequence[tuple[str, float]]): Class and negative difference,
            the largest last.
        path (str | Path): The picture to write; its ending is the format.
        title (str): Over the picture; says what is compared with what.

    Returns:
        Path: The picture.
    """
    bars = [*gains, *losses]
    figure = Figure(figsize=(8.5, 1.5 + 0.24 * max(len(bars), 2)), layout='constrained')
    axes = figure.subplots()
    places, values = np.arange(len(bars)), [value for _, value in bars]
    axes.barh(places, values, color=[_GOOD if value > 0 else _BAD for value in values], height=0.75)
    axes.set_yticks(places, [_cut(text, 60) for text, _ in bars], fontsize=8)
    axes.set_ylim(max(len(bars), 1) - 0.4, -0.6)
    reach = 1.2 * max(map(abs, values), default=1.0)
    axes.set_xlim(-reach if losses or not bars else 0, reach if gains or not bars else 0)
    if not bars:
        axes.text(0, 0, 'no class differs', ha='center', va='center')
    for place, value in zip(places, values):
        axes.annotate(
            f'{value:+.1f}',
            (value, place),
            xytext=(4 if value > 0 else -4, 0),
            textcoords='offset points',
            ha='left' if value > 0 else 'right',
            va='center',
            fontsize=7.5,
            color='.3',
        )
    axes.axvline(0, color='.25', linewidth=0.8)
    axes.set_xlabel('difference in accuracy, percentage points')
    axes.spines[['top', 'right']].set_visible(False)
    axes.set_title(title, fontsize=10)
    return save_figure(figure, path)
