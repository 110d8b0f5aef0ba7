"""Curves of the losses of one or several runs."""

import json
from pathlib import Path
from typing import Dict, List, Mapping, Tuple, Union

from matplotlib.figure import Figure

TITLES = dict(
    loss_rec='reconstruction (pixels)',
    loss_direct='direct alignment (visible tokens)',
    loss_generation='generation alignment (extra tokens)',
)

Curve = Tuple[List[int], List[float]]


def read_scalars(work_dir: Union[str, Path]) -> Dict[str, Curve]:
    """What MMEngine's ``LocalVisBackend`` logged in a work folder.

    A run that was resumed has several logs; where they overlap the later one
    counts.

    Args:
        work_dir (str | Path): The work folder; its logs are in
            ``<time>/vis_data/scalars.json``.

    Returns:
        Dict[str, Curve]: Name -> (steps, values), in rising order of steps.

    Raises:
        FileNotFoundError: If there is no log.
    """
    logs = sorted(Path(work_dir).glob('*/vis_data/scalars.json'))
    if not logs:
        raise FileNotFoundError(
            f'no */vis_data/scalars.json below {work_dir}: give the work_dir '
            'of a training run'
        )
    points: Dict[str, Dict[int, float]] = {}
    for log in logs:
        for line in log.read_text().splitlines():
            entry = _parse(line)
            for name, value in entry.items():
                if isinstance(value, (int, float)) and 'step' in entry:
                    points.setdefault(name, {})[int(entry['step'])] = value
    curves = {}
    for name, values in points.items():
        steps = sorted(values)
        curves[name] = steps, [values[step] for step in steps]
    return curves


def _parse(line: str) -> dict:
    """A line of a log; a killed run may leave half of one."""
    try:
        entry = json.loads(line)
    except json.JSONDecodeError:
        return {}
    return entry if isinstance(entry, dict) else {}


def draw_loss_curves(
    runs: Mapping[str, Union[str, Path]],
    path: Union[str, Path],
    title: str = 'Losses of pre-training',
) -> Path:
    """Draw the losses of runs, one panel for each loss.

    The panels are the reconstruction and, where a run has them, the two
    alignment losses; runs are told apart by colour, the same in all panels.

    Args:
        runs (Mapping[str, str | Path]): Name for the legend -> work folder.
        path (str | Path): The picture to write; its ending is the format.
        title (str): Over the panels.

    Returns:
        Path: The picture.

    Raises:
        FileNotFoundError: If a run has no log.
        ValueError: If no run logged any of the losses.
    """
    curves = {name: read_scalars(folder) for name, folder in runs.items()}
    losses = [
        name
        for name in TITLES
        if any(name in logged for logged in curves.values())
    ]
    if not losses:
        raise ValueError(
            f'none of {list(TITLES)} was logged in '
            f'{[str(folder) for folder in runs.values()]}'
        )
    figure = Figure(figsize=(1 + 4.2 * len(losses), 4.4), layout='constrained')
    for panel, name in zip(
        figure.subplots(1, len(losses), squeeze=False)[0], losses
    ):
        for index, (run, logged) in enumerate(curves.items()):
            if name in logged:
                panel.plot(
                    *logged[name], color=f'C{index}', linewidth=1.5, label=run
                )
        panel.set_title(TITLES[name], fontsize=10)
        panel.set_xlabel('step')
        values = [
            value
            for logged in curves.values()
            if name in logged
            for value in logged[name][1]
        ]
        if min(values) > 0 and max(values) > 10 * min(values):
            panel.set_yscale('log')
        panel.grid(True, which='both', alpha=0.25)
        panel.set_ylabel('loss')
        panel.legend(fontsize=8)
    figure.suptitle(title)
    return save_figure(figure, path)


def save_figure(figure: Figure, path: Union[str, Path]) -> Path:
    """Write a figure, making the folder, and return the path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    return path
