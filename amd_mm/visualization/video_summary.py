"""Summary of a collection of videos: durations, frame sizes, frame rates and codecs."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .plots import COLOURS, save_figure, styled

_ROWS = 8  # of each table; the rest is counted together


class VideoFacts(NamedTuple):
    """Facts about a video.

    Attributes:
        seconds: 0 if the file does not say.
        size: (width, height) as it is shown.
        rate: frames per second on average; 0 if the file does not say.
        codec: ffmpeg's name.
    """

    frames: int
    seconds: float
    size: tuple[int, int]
    rate: float
    codec: str


def count_kinds(videos: Sequence[VideoFacts]) -> dict[str, list[tuple[str, int]]]:
    """Number of videos of each codec, frame size and frame rate, the most frequent first.

    Returns:
        Title -> at most nine (name, count); the last one may stand for all others.
    """
    return {
        'codec': _most_frequent([one.codec for one in videos]),
        'frame size': _most_frequent(['x'.join(map(str, one.size)) for one in videos]),
        'frames per second': _most_frequent(
            [f'{one.rate:.2f}'.rstrip('0').rstrip('.') if one.rate else '?' for one in videos]
        ),
    }


def _most_frequent(names: Sequence[str]) -> list[tuple[str, int]]:
    ranked = Counter(names).most_common()
    if len(ranked) <= _ROWS + 1:
        return ranked
    rest = ranked[_ROWS:]
    return [*ranked[:_ROWS], (f'{len(rest)} others', sum(count for _, count in rest))]


def summarize(videos: Sequence[VideoFacts]) -> str:
    """A table of text; ``videos`` has at least one."""
    seconds = np.array([one.seconds for one in videos])
    frames = np.array([one.frames for one in videos])
    lines = [
        f'{"":20}{"shortest":>10}{"median":>10}{"longest":>10}{"sum":>14}',
        _row('seconds', seconds, '.1f'),
        _row('frames', frames, '.0f'),
    ]
    for title, counts in count_kinds(videos).items():
        lines.append(f'\n{title:20}{"videos":>10}')
        lines += [
            f'{name:20}{count:>10}{100 * count / len(videos):>9.1f} %' for name, count in counts
        ]
    return '\n'.join(lines)


def _row(name: str, values: np.ndarray, form: str) -> str:
    shown = (values.min(), np.median(values), values.max())
    return f'{name:20}' + ''.join(f'{one:>10{form}}' for one in shown) + f'{values.sum():>14{form}}'


@styled
def draw_summary(videos: Sequence[VideoFacts], path: str | Path, title: str) -> Path:
    """Draw durations as a histogram, and codecs, frame sizes and frame rates as bars.

    Args:
        videos: at least one.
        path: the picture; its ending is the format.
        title: above the panels.
    """
    figure = Figure(figsize=(9.5, 6))
    panels = figure.subplots(2, 2).flatten()
    seconds = np.array([one.seconds for one in videos if one.seconds])
    if seconds.size:
        low, high = seconds.min(), seconds.max()
        # The bins grow with the duration where durations differ by more than a factor of ten.
        wide = high > 10 * low
        edges = np.geomspace(low, high, 25) if wide else np.linspace(0, 1.05 * high, 25)
        panels[0].hist(seconds, edges, color=COLOURS[0])
        if wide:
            panels[0].set_xscale('log')
            panels[0].xaxis.set_major_formatter('{x:g}')
    total = seconds.sum()
    total = f'{total / 3600:,.1f} hours' if total >= 3600 else f'{total / 60:.1f} minutes'
    panels[0].set(title=f'duration, {total} in all', xlabel='seconds', ylabel='videos')
    panels[0].yaxis.set_major_locator(MaxNLocator(integer=True))
    for panel, (name, counts) in zip(panels[1:], count_kinds(videos).items()):
        names, values = zip(*counts)
        places = range(len(names))
        bars = panel.barh(places, values, color=COLOURS[0], height=0.7)
        panel.bar_label(bars, padding=3, fontsize=8)
        panel.set_yticks(places, names)
        panel.set(title=name, xlabel='videos', xlim=(0, 1.15 * max(values)))
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.set_ylim(max(len(names), 4) - 0.4, -0.6)
        panel.grid(visible=False, axis='y')
    figure.suptitle(title)
    return save_figure(figure, path)
