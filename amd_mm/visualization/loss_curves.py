"""Curves of the losses of one or several runs."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from .figures import save_figure
from .training_logs import read_scalars

TITLES = dict(
    loss_rec='reconstruction (pixels)',
    loss_direct='direct alignment (visible tokens)',
    loss_generation='generation alignment (extra tokens)',
)


def draw_loss_curves(
    runs: Mapping[str, str | Path], path: str | Path, title: str = 'Losses of pre-training'
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
    losses = [name for name in TITLES if any(name in logged for logged in curves.values())]
    if not losses:
        raise ValueError(
            f'none of {list(TITLES)} was logged in {[str(folder) for folder in runs.values()]}'
        )
    figure = Figure(figsize=(1 + 4.2 * len(losses), 4.4), layout='constrained')
    for panel, name in zip(figure.subplots(1, len(losses), squeeze=False)[0], losses):
        for index, (run, logged) in enumerate(curves.items()):
            if name in logged:
                panel.plot(*logged[name], color=f'C{index}', linewidth=1.5, label=run)
        panel.set_title(TITLES[name], fontsize=10)
        panel.set_xlabel('step')
        values = [
            value for logged in curves.values() if name in logged for value in logged[name][1]
        ]
        if min(values) > 0 and max(values) > 10 * min(values):
            panel.set_yscale('log')
        panel.grid(True, which='both', alpha=0.25)
        panel.set_ylabel('loss')
        panel.legend(fontsize=8)
    figure.suptitle(title)
    return save_figure(figure, path)
