"""What MMEngine logged in the work folders of runs."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

Curve = tuple[list[int], list[float]]

_COUNTERS = ('step', 'iter', 'epoch')


class Series(NamedTuple):
    """One value of a run over time.

    Attributes:
        iterations (List[int]): When it was logged, rising.
        epochs (List[float], optional): The same in passes over the data; None
            for a run that does not count them.
        values (List[float]): What was logged.
    """

    iterations: list[int]
    epochs: list[float] | None
    values: list[float]


class _Line(NamedTuple):
    """A line of a log: the iteration it belongs to, and what it says."""

    iteration: int
    entry: dict


def find_logs(run: str | Path) -> list[Path]:
    """The scalar logs of a run, in the order in which they were begun.

    Args:
        run (str | Path): A work folder (its logs are in
            ``<time>/vis_data/scalars.json``), a ``<time>`` folder of it, or a
            log.

    Raises:
        FileNotFoundError: If there is none.
    """
    run = Path(run)
    if run.is_file():
        return [run]
    if not run.is_dir():
        raise FileNotFoundError(f'there is no folder {run}: give the work_dir of a training run')
    for pattern in ('*/vis_data/scalars.json', 'vis_data/scalars.json'):
        logs = sorted(run.glob(pattern))
        if logs:
            return logs
    raise FileNotFoundError(
        f'no */vis_data/scalars.json below {run}: give the work_dir of a training run'
    )


def read_series(run: str | Path) -> dict[str, Series]:
    """What MMEngine's ``LocalVisBackend`` logged in a work folder.

    A run that was resumed has several logs: what an earlier one has after the
    beginning of a later one is passed over, as the run did. Validation is
    logged by the epoch or by the iteration, depending on the config; here it
    belongs to the last training iteration that was logged before it.

    Args:
        run (str | Path): See :func:`find_logs`.

    Returns:
        Dict[str, Series]: By name.

    Raises:
        FileNotFoundError: If there is no log.
    """
    lines: list[_Line] = []
    for log in find_logs(run):
        last = lines[-1].iteration if lines else None
        new = list(_lines(log, last))
        begin = min((one.iteration for one in new if _trains(one.entry)), default=None)
        if begin is not None:
            lines = [one for one in lines if one.iteration < begin]
        lines += new
    length = _iterations_of_an_epoch(lines)
    points: dict[str, dict[int, float]] = {}
    for iteration, entry in lines:
        for name, value in entry.items():
            if name not in _COUNTERS and isinstance(value, (int, float)):
                points.setdefault(name, {})[iteration] = float(value)
    return {name: _series(values, length) for name, values in points.items()}


def read_scalars(work_dir: str | Path) -> dict[str, Curve]:
    """:func:`read_series` as plain curves.

    Args:
        work_dir (str | Path): See :func:`find_logs`.

    Returns:
        Dict[str, Curve]: Name -> (iterations, values), in rising order.

    Raises:
        FileNotFoundError: If there is no log.
    """
    return {
        name: (series.iterations, series.values) for name, series in read_series(work_dir).items()
    }


def _lines(log: Path, last: int | None) -> Iterator[_Line]:
    """The lines of a log; ``last`` is the iteration before it, if any."""
    for text in log.read_text().splitlines():
        entry = _parse(text)
        if 'step' not in entry:
            continue
        iteration = int(entry['step']) if _trains(entry) or last is None else last
        if _trains(entry):
            last = iteration
        yield _Line(iteration, _without_timers(entry))


def _parse(text: str) -> dict:
    """A line of a log; a killed run may leave half of one."""
    try:
        entry = json.loads(text)
    except json.JSONDecodeError:
        return {}
    return entry if isinstance(entry, dict) else {}


def _trains(entry: dict) -> bool:
    """Whether a line is of training, not of validation."""
    return any(name in ('iter', 'lr') or name.startswith('loss') for name in entry)


def _without_timers(entry: dict) -> dict:
    """A line of validation has times of its own, of other iterations."""
    if _trains(entry):
        return entry
    return {name: value for name, value in entry.items() if name not in ('time', 'data_time')}


def _iterations_of_an_epoch(lines: list[_Line]) -> int | None:
    """At least so many: exact if the ends of epochs are logged."""
    counted = [
        iteration / entry['epoch']
        for iteration, entry in lines
        if _trains(entry) and entry.get('epoch')
    ]
    return math.ceil(max(counted)) if counted else None


def _series(values: dict[int, float], length: int | None) -> Series:
    iterations = sorted(values)
    epochs = length and [iteration / length for iteration in iterations]
    return Series(iterations, epochs or None, [values[one] for one in iterations])
