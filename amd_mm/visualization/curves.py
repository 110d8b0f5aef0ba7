"""Training curves, from the logs that MMEngine's ``LocalVisBackend`` writes.

MMAction2's ``analyze_logs.py`` reads one log and does not know of resumed runs.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from ..errors import ConfigError
from .style import COLOURS, save_figure, styled

AXES = ('iterations', 'epochs')
_TITLES = dict(
    loss='loss, sum of all terms',
    loss_rec='reconstruction loss',
    loss_direct='direct alignment loss',
    loss_generation='generation alignment loss',
    loss_qk='relation loss, query and key',
    loss_vv='relation loss, values',
    lr='learning rate',
    clips_per_s='throughput (clips per second)',
    time='time per iteration (s)',
    data_share='share of time spent waiting for data',
    grad_norm='gradient norm',
    memory='device memory (MiB)',
)
_UNITS = dict(
    lr='learning rate', clips_per_s='clips / s', time='s', data_share='share', memory='MiB'
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
            if _is_training(entry) or not lines:
                lines.append((entry['step'], entry))
            else:  # a validation's timers do not describe training
                timers = ('time', 'data_time')
                kept = {name: value for name, value in entry.items() if name not in timers}
                lines.append((lines[-1][0], kept))
    ratios = [
        iteration / entry['epoch']
        for iteration, entry in lines
        if _is_training(entry) and entry.get('epoch')
    ]
    # Exact because LoggerHook logs the last iteration of an epoch.
    epoch_length = math.ceil(max(ratios)) if ratios else None
    points: dict[str, dict[int, float]] = {}
    for iteration, entry in lines:
        for name, value in entry.items():
            if name not in ('step', 'iter', 'epoch') and isinstance(value, (int, float)):
                points.setdefault(name, {})[iteration] = float(value)
    series = {}
    for name, values in points.items():
        iterations = sorted(values)
        epochs = [step / epoch_length for step in iterations] if epoch_length else None
        series[name] = Series(iterations, epochs, [values[step] for step in iterations])
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
    smoothing: float = 0.0,
    title: str = '',
) -> Path:
    """Draw what runs logged: a panel for each value, a colour for each run.

    Args:
        runs: name in the legend -> work_dir, see :func:`find_logs`.
        path: the picture; its ending is the format.
        values: names of the values to draw, as in the log. By default the losses, the validation
            results, the learning rate and the speed.
        axis: ``iterations`` or ``epochs``.
        smoothing: weight of the past in a moving average, from 0 (none) to below 1. The unsmoothed
            curve stays behind it, pale.
        title: above the panels.

    Raises:
        FileNotFoundError: If a run has no log.
        ConfigError: If a value was not logged, or an argument is out of range.
    """
    if axis not in AXES:
        raise ConfigError(f'axis must be one of {AXES}, got {axis!r}')
    if not 0 <= smoothing < 1:
        raise ConfigError(f'smoothing must be from 0 (none) to below 1, got {smoothing}')
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
        if smoothing:
            panel.plot(steps, values, alpha=0.25, linewidth=1, **look)
            values = smooth(values, smoothing)
        panel.plot(steps, values, label=run, **look)
        drawn += [one for one in values if math.isfinite(one)]
    is_loss = value.startswith('loss')
    panel.set_title(_TITLES.get(value, value))
    panel.set_xlabel(axis[:-1])
    panel.set_ylabel('loss' if is_loss else _UNITS.get(value, value.rpartition('/')[2]))
    if is_loss and drawn and 0 < 10 * min(drawn) < max(drawn):
        panel.set_yscale('log')
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_major_formatter('{x:g}')
        panel.yaxis.set_minor_formatter('')


def smooth(values: Sequence[float], weight: float) -> list[float]:
    """A moving average without a bias towards zero at the start.

    Args:
        values: values that are not finite are skipped.
        weight: of the past, from 0 to below 1.

    Returns:
        ``sum_k(w ** k * v[n - k]) / sum_k(w ** k)`` for each n.
    """
    total = norm = 0.0
    smoothed = []
    for value in values:
        if math.isfinite(value):
            total = weight * total + value
            norm = weight * norm + 1
        smoothed.append(total / norm if norm else math.nan)
    return smoothed
