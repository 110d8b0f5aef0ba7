"""Plots of training logs and of classes, and the style that all figures share.

Figures are drawn without a display and without pyplot. ``styled`` decorates a function that draws a
figure, and restores matplotlib's settings afterwards.
"""

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from cycler import cycler
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from ..errors import ConfigError

PICTURES = ('.png', '.pdf', '.svg', '.jpg')
# Okabe and Ito's colours, distinct to most colour-blind people, without the pale yellow.
COLOURS = ('#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#000000')

styled = rc_context(
    {
        'axes.grid': True,
        'axes.axisbelow': True,
        'axes.labelsize': 9,
        'axes.prop_cycle': cycler(color=COLOURS),
        'axes.spines.right': False,
        'axes.spines.top': False,
        'axes.titlesize': 10,
        'figure.constrained_layout.use': True,
        'figure.dpi': 130,
        'figure.titlesize': 12,
        'grid.alpha': 0.25,
        'legend.fontsize': 9,
        'legend.frameon': False,
        'lines.linewidth': 1.6,
        'text.parse_math': False,  # a name with a dollar is not a formula
        'xtick.labelsize': 8,
        'ytick.labelsize': 8,
    }
)


def check_picture(path: str | Path, endings: Sequence[str] = PICTURES) -> Path:
    """Check that a picture, or another file with one of the endings, can be written.

    Raises:
        ConfigError: For an unknown ending.
    """
    path = Path(path)
    if path.suffix.lower() not in endings:
        raise ConfigError(f'{path} has to end in one of {", ".join(endings)}')
    return path


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure; its ending is the format. The folder is created."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path


def figure_pixels(figure: Figure) -> np.ndarray:
    """Draw a figure into an array (H, W, 3), uint8, RGB."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def write_table(path: str | Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    """Write a CSV file. The folder is created."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open('w', newline='', encoding='utf-8') as file:
        csv.writer(file).writerows([header, *rows])
    return path


# -- training curves ---------------------------------------------------------------------------

# MMAction2's analyze_logs.py reads one log, and not those of a resumed run.

AXES = ('iterations', 'epochs')
_PANELS = dict(  # title, label of the y axis
    loss=('loss, sum of all terms', 'loss'),
    loss_rec=('reconstruction loss', 'loss'),
    loss_direct=('direct alignment loss', 'loss'),
    loss_generation=('generation alignment loss', 'loss'),
    loss_qk=('relation loss, query and key', 'loss'),
    loss_vv=('relation loss, values', 'loss'),
    lr=('learning rate', 'learning rate'),
    clips_per_s=('throughput (clips per second)', 'clips / s'),
    time=('time per iteration (s)', 's'),
    data_share=('share of time spent waiting for data', 'share'),
    grad_norm=('gradient norm', 'norm'),
    memory=('device memory (MiB)', 'MiB'),
)
_STYLES = ('-', '--', ':', '-.')
_COLUMNS = 3


class Series(NamedTuple):
    """One logged value of a run.

    Attributes:
        iterations: when it was logged, ascending.
        epochs: the same in epochs; None for a run that does not count epochs.
        values: the logged values.
    """

    iterations: list[int]
    epochs: list[float] | None
    values: list[float]


def find_logs(run: str | Path) -> list[Path]:
    """Find the scalar logs of a run, oldest first.

    Args:
        run: a work_dir, with logs in ``<time>/vis_data/scalars.json``; or one ``<time>`` folder;
            or one log.

    Raises:
        FileNotFoundError: If there is no log.
    """
    run = Path(run)
    if run.is_file():
        return [run]
    for pattern in ('*/vis_data/scalars.json', 'vis_data/scalars.json'):
        if logs := sorted(run.glob(pattern)):
            return logs
    raise FileNotFoundError(
        f'no */vis_data/scalars.json in {run}: give the work_dir of a training run'
    )


def read_series(run: str | Path) -> dict[str, Series]:
    """Read everything that a run logged.

    A resumed run has several logs. Where they overlap, the later one counts, since the run
    continued from there. A validation result belongs to the last training iteration before it.

    Args:
        run: see :func:`find_logs`.

    Returns:
        Series by name.
    """
    lines: list[tuple[int, dict]] = []  # iteration, entry
    for log in find_logs(run):
        entries = [_parse(text) for text in log.read_text().splitlines()]
        entries = [entry for entry in entries if 'step' in entry]
        first = next((entry['step'] for entry in entries if _is_training(entry)), math.inf)
        lines = [line for line in lines if line[0] < first]
        for entry in entries:
            if not _is_training(entry) and lines:  # its timers do not describe training
                kept = {key: entry[key] for key in entry if key not in ('time', 'data_time')}
                lines.append((lines[-1][0], kept))
            else:
                lines.append((entry['step'], entry))
    trained = [(step, entry.get('epoch')) for step, entry in lines if _is_training(entry)]
    # Exact because LoggerHook logs the last iteration of an epoch.
    length = math.ceil(max((step / epoch for step, epoch in trained if epoch), default=0))
    points: dict[str, dict[int, float]] = {}
    for iteration, entry in lines:
        for name, value in entry.items():
            if name not in ('step', 'iter', 'epoch') and isinstance(value, (int, float)):
                points.setdefault(name, {})[iteration] = float(value)
    series = {}
    for name, values in points.items():
        steps = sorted(values)
        epochs = [step / length for step in steps] if length else None
        series[name] = Series(steps, epochs, [values[step] for step in steps])
    return series


def _parse(line: str) -> dict:
    try:
        return json.loads(line)
    except json.JSONDecodeError:  # a killed run may leave half a line
        return {}


def _is_training(entry: dict) -> bool:
    return any(name in ('iter', 'lr') or name.startswith('loss') for name in entry)


@styled
def draw_training_curves(
    runs: Mapping[str, str | Path],
    path: str | Path,
    values: Sequence[str] | None = None,
    axis: str = 'iterations',
    smoothing: float = 0.05,
    title: str = '',
) -> Path:
    """Draw what runs logged: a panel for each value, a colour for each run.

    Args:
        runs: name in the legend -> work_dir, see :func:`find_logs`.
        path: the picture; its ending is the format.
        values: names of the values to draw, as in the log. By default the losses, the validation
            results, the learning rate and the speed.
        axis: ``iterations`` or ``epochs``.
        smoothing: part of the run over which a moving average is taken, 0 for none. The logged
            values stay behind it, pale; learning rates and validation results are not smoothed.
        title: above the panels.

    Raises:
        FileNotFoundError: If a run has no log.
        ConfigError: If a value was not logged, or an argument is out of range.
    """
    if axis not in AXES:
        raise ConfigError(f'axis must be one of {AXES}, got {axis!r}')
    if not 0 <= smoothing < 1:
        raise ConfigError(f'smoothing must be 0 or more and below 1, got {smoothing}')
    logged = {name: read_series(folder) for name, folder in runs.items()}
    for name, series in logged.items():
        if not series:
            raise ConfigError(f'the log of {runs[name]} is empty: nothing was logged yet')
    names = list(dict.fromkeys(name for series in logged.values() for name in series))
    for value in values or ():
        if value not in names:
            raise ConfigError(f'{value} was not logged; available: {", ".join(sorted(names))}')
    chosen = list(values or _default_values(names, logged))
    columns = min(_COLUMNS, len(chosen))
    rows = math.ceil(len(chosen) / columns)
    figure = Figure(figsize=(max(4.6, 3.5 * columns), 0.7 + 2.7 * rows))
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for panel in panels[len(chosen) :]:
        panel.axis('off')
    for panel, name in zip(panels, chosen):
        _draw_panel(panel, name, logged, axis, smoothing)
    handles = {
        line.get_label(): line
        for panel in panels
        for line in panel.get_lines()
        if not str(line.get_label()).startswith('_')
    }
    figure.legend(handles.values(), handles, loc='outside lower center', ncols=columns)
    if title:
        figure.suptitle(title)
    return save_figure(figure, path)


def _default_values(names: Sequence[str], logged: Mapping[str, dict[str, Series]]) -> list[str]:
    """Losses, validation results, learning rate and speed, in this order."""
    terms = [name for name in names if name.startswith('loss_')]
    # The sum of a single term is that term.
    has_sum = any(
        'loss' in series and sum(name.startswith('loss_') for name in series) != 1
        for series in logged.values()
    )
    results = [name for name in names if '/' in name]
    speed = [name for name in ('clips_per_s', 'time') if name in names][:1]
    chosen = ['loss'] * has_sum + terms + results + ['lr'] * ('lr' in names) + speed
    if not chosen:
        raise ConfigError(
            f'no loss, accuracy, learning rate or speed was logged, only {", ".join(names)}: '
            'name the values to draw'
        )
    return chosen


def _draw_panel(
    panel: Axes, value: str, logged: Mapping[str, dict[str, Series]], axis: str, smoothing: float
) -> None:
    drawn: list[float] = []
    for index, (run, series) in enumerate(logged.items()):
        if value not in series:
            continue
        iterations, epochs, values = series[value]
        if axis == 'epochs' and epochs is None:
            raise ConfigError(f'{run} logged no epochs: draw it by iterations')
        steps: Any = epochs if axis == 'epochs' else iterations
        look: dict[str, Any] = dict(
            color=COLOURS[index % len(COLOURS)],
            linestyle=_STYLES[index // len(COLOURS) % len(_STYLES)],
            marker='o' if len(values) < 8 else '',
            markersize=3,
        )
        if smoothing and value != 'lr' and '/' not in value:
            panel.plot(steps, values, alpha=0.25, linewidth=1, **look)
            values = smooth(iterations, values, smoothing).tolist()
        panel.plot(steps, values, label=run, **look)
        drawn += [one for one in values if math.isfinite(one)]
    is_loss = value.startswith('loss')
    title, label = _PANELS.get(value, (value, 'loss' if is_loss else value.rpartition('/')[2]))
    panel.set(title=title, xlabel=axis[:-1], ylabel=label)
    if is_loss and drawn and 0 < 10 * min(drawn) < max(drawn):
        panel.set_yscale('log')
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_major_formatter('{x:g}')
        panel.yaxis.set_minor_formatter('')


def smooth(steps: Sequence[float], values: Sequence[float], share: float) -> np.ndarray:
    """A centred moving average, over ``share`` of all steps.

    The window shrinks towards the start, so that a steep beginning stays where it is. Values that
    are not finite are skipped.
    """
    at, given = np.asarray(steps, float), np.asarray(values, float)
    half = np.minimum(share / 2 * (at[-1] - at[0]), at - at[0])
    first = np.searchsorted(at, at - half)
    last = np.searchsorted(at, at + half, side='right')
    parts = [given[low:high] for low, high in zip(first, last)]
    finite = [part[np.isfinite(part)] for part in parts]
    return np.array([part.mean() if part.size else math.nan for part in finite])


# -- classes -----------------------------------------------------------------------------------

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
        _named_bars(bars, texts, share, COLOURS[0])
        bars.axvline(share.mean(), color='.25', linewidth=1, zorder=0.5)
        bars.set_xlabel('top-1 accuracy, % (videos of the class in brackets)')
    else:
        figure = Figure(figsize=(13, 7.6))
        panels = figure.subplot_mosaic('AB;AC', width_ratios=[1.1, 1])
        every, best, worst = panels['A'], panels['B'], panels['C']
        every.bar(np.arange(len(share)), share, width=1.0, color=COLOURS[0])
        every.axhline(share.mean(), color='.25', linewidth=1)
        where = (len(share) - 1, share.mean() + 1)
        every.text(*where, f'mean {share.mean():.1f}', ha='right', fontsize=8)
        every.set(xlim=(-0.5, len(share) - 0.5), ylim=(0, 100), title=f'all {len(share)}')
        every.set(xlabel='classes, best first', ylabel='top-1 accuracy, %')
        _named_bars(best, texts[:_ENDS], share[:_ENDS], COLOURS[0])
        _named_bars(worst, texts[-_ENDS:], share[-_ENDS:], COLOURS[1])
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
        places,
        values,
        color=[COLOURS[0] if value > 0 else COLOURS[1] for value in values],
        height=0.75,
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
