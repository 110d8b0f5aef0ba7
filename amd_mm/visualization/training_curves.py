"""Curves of everything that runs logged: losses, rates, speed, accuracy."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .errors import VisualizationError
from .figures import COLOURS, plain, save_figure
from .training_logs import Series, read_series

AXES = ('iterations', 'epochs')
_TITLES = dict(
    loss='loss, all terms',
    loss_rec='reconstruction loss',
    loss_direct='direct alignment loss',
    loss_generation='generation alignment loss',
    loss_qk='relation loss, query and key',
    loss_vv='relation loss, values',
    lr='learning rate',
    clips_per_s='throughput (clips per second)',
    time='time of an iteration (s)',
    data_share='share of time waiting for data',
    grad_norm='norm of the gradient',
    memory='memory of the device (MiB)',
)
_UNITS = dict(
    lr='learning rate', clips_per_s='clips / s', time='s', data_share='share', memory='MiB'
)
_STYLES = ('-', '--', ':', '-.')
_COLUMNS = 3

Runs = dict[str, dict[str, Series]]


def draw_training_curves(
    runs: Mapping[str, str | Path],
    path: str | Path,
    values: Sequence[str] | None = None,
    axis: str = 'iterations',
    smoothing: float = 0.0,
    title: str = '',
) -> Path:
    """Draw what runs logged, one panel for each value.

    Runs are told apart by colour, the same in all panels.

    Args:
        runs (Mapping[str, str | Path]): Name for the legend -> work folder,
            see :func:`find_logs`.
        path (str | Path): The picture to write; its ending is the format.
        values (Sequence[str], optional): Names of what to draw, as in the
            log. By default the losses, what validation measured, the learning
            rate and the speed, as far as they were logged.
        axis (str): What runs to the right: ``iterations`` or ``epochs``.
        smoothing (float): From 0 (none) to below 1: weight of the past in a
            moving average, see :func:`smooth`; the curve itself stays behind
            it, pale.
        title (str): Over the panels.

    Returns:
        Path: The picture.

    Raises:
        FileNotFoundError: If a run has no log.
        VisualizationError: If nothing was logged, not the value asked for, or
            not by epochs.
    """
    if axis not in AXES:
        raise VisualizationError(f'the axis is one of {AXES}, got {axis!r}')
    if not 0 <= smoothing < 1:
        raise VisualizationError(f'smoothing is from 0 (none) to below 1, got {smoothing}')
    logged = {name: read_series(folder) for name, folder in runs.items()}
    for name, series in logged.items():
        if not series:
            raise VisualizationError(f'the log of {runs[name]} is empty: nothing was logged yet')
    chosen = _check(values, logged) if values else _usual(logged)
    columns = min(_COLUMNS, len(chosen))
    rows = math.ceil(len(chosen) / columns)
    figure = Figure(figsize=(max(4.6, 3.5 * columns), 0.7 + 2.7 * rows), layout='constrained')
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
    figure.legend(
        list(handles.values()),
        list(handles),
        loc='outside lower center',
        ncols=columns,
        fontsize=9,
        frameon=False,
    )
    if title:
        figure.suptitle(plain(title), fontsize=12)
    return save_figure(figure, path)


def smooth(values: Sequence[float], weight: float) -> list[float]:
    """A moving average whose beginning is not drawn towards zero.

    Args:
        values (Sequence[float]): What to smooth; what is not finite is passed
            over.
        weight (float): Of the past, from 0 to below 1.

    Returns:
        List[float]: As many; ``sum(w ** k * v[n - k]) / sum(w ** k)`` with
        the sums over k.
    """
    total = norm = 0.0
    smoothed = []
    for value in values:
        if math.isfinite(value):
            total = weight * total + value
            norm = weight * norm + 1
        smoothed.append(total / norm if norm else math.nan)
    return smoothed


def _usual(logged: Runs) -> list[str]:
    """What is worth a panel, in the order of the panels."""
    names = list(dict.fromkeys(name for series in logged.values() for name in series))
    terms = [name for name in names if name.startswith('loss_')]
    # Of a single term the sum is that term.
    sums = [
        'loss'
        for series in logged.values()
        if 'loss' in series and sum(name.startswith('loss_') for name in series) != 1
    ][:1]
    measured = [name for name in names if '/' in name]
    speed = [name for name in ('clips_per_s', 'time') if name in names][:1]
    rate = [name for name in names if name == 'lr']
    chosen = sums + terms + measured + rate + speed
    if not chosen:
        raise VisualizationError(
            'no loss, accuracy, learning rate or speed was logged, only '
            f'{", ".join(names)}: name what to draw'
        )
    return chosen


def _check(values: Sequence[str], logged: Runs) -> list[str]:
    names = sorted({name for series in logged.values() for name in series})
    for value in values:
        if value not in names:
            raise VisualizationError(f'{value} was not logged; there is {", ".join(names)}')
    return list(values)


def _draw_panel(panel: Axes, value: str, logged: Runs, axis: str, smoothing: float) -> None:
    drawn: list[float] = []
    for index, (run, series) in enumerate(logged.items()):
        if value not in series:
            continue
        along, values = _along(run, series[value], axis), series[value].values
        look: dict[str, Any] = dict(
            color=COLOURS[index % len(COLOURS)],
            linestyle=_STYLES[index // len(COLOURS) % len(_STYLES)],
            marker='o' if len(values) < 8 else None,
            markersize=3,
        )
        if smoothing:
            panel.plot(along, values, alpha=0.25, linewidth=1, **look)
            values = smooth(values, smoothing)
        panel.plot(along, values, label=plain(run), linewidth=1.6, **look)
        drawn += values
    panel.set_title(plain(_TITLES.get(value, value)), fontsize=10)
    panel.set_xlabel(axis[:-1], fontsize=9)
    unit = 'loss' if value.startswith('loss') else value.rpartition('/')[2]
    panel.set_ylabel(plain(_UNITS.get(value, unit)), fontsize=9)
    panel.tick_params(labelsize=8)
    panel.grid(True, alpha=0.25)
    finite = [one for one in drawn if math.isfinite(one)]
    if value.startswith('loss') and _spans_decades(finite):
        panel.set_yscale('log')


def _along(run: str, series: Series, axis: str) -> Sequence[float]:
    if axis == 'iterations':
        return series.iterations
    if series.epochs is None:
        raise VisualizationError(
            f'{run} logged no epochs, it was trained by iterations: draw it along iterations'
        )
    return series.epochs


def _spans_decades(values: Sequence[float]) -> bool:
    return bool(values) and 0 < 10 * min(values) < max(values)


def named_runs(arguments: Sequence[str]) -> dict[str, str]:
    """Names and folders of runs: ``NAME=FOLDER``, or a folder by its name.

    Args:
        arguments (Sequence[str]): As on a command line.

    Returns:
        Dict[str, str]: Name -> folder.

    Raises:
        VisualizationError: If two have one name.
    """
    runs: dict[str, str] = {}
    for argument in arguments:
        name, folder = _split(argument)
        if name in runs:
            raise VisualizationError(
                f'{runs[name]} and {folder} are both called {name}: give names, NAME=FOLDER'
            )
        runs[name] = folder
    return runs


def _split(argument: str) -> tuple[str, str]:
    name, equals, folder = argument.partition('=')
    if equals and name and not Path(argument).exists():
        return name, folder
    return Path(argument).resolve().name, argument
