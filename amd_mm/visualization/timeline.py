"""Predictions along a video: windows with scores, as a table, a picture or an annotated video."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from .plots import COLOURS, check_picture, save_figure, styled, write_table
from .video import annotate_frame, rewrite_video

ENDINGS = ('.csv', '.json', '.png', '.pdf', '.svg', '.mp4', '.gif')


class Timeline(NamedTuple):
    """Predictions along a video, from :meth:`amd_mm.inference.Model.timeline`.

    Attributes:
        times: (N, 2), start and end of each window in seconds.
        scores: (N, classes), probabilities.
        labels: names of the classes.
    """

    times: np.ndarray
    scores: np.ndarray
    labels: Sequence[str]

    def top(self, window: int, count: int = 5) -> list[tuple[str, float]]:
        """(label, probability) of a window, the most likely first."""
        scores = self.scores[window]
        best = np.argsort(-scores, kind='stable')[:count]
        return [(self.labels[label], float(scores[label])) for label in best]

    def at(self, seconds: float) -> int:
        """The window whose middle is nearest to a time."""
        return int(np.abs(self.times.mean(1) - seconds).argmin())

    def write(
        self, path: str | Path, video: str | Path, top_k: int = 5, backend: str = 'pyav'
    ) -> None:
        """Write the predictions; the ending of the file decides how. The folder is created.

        Args:
            path: ``.csv`` and ``.json`` hold the best classes of each window; ``.png``, ``.pdf``
                and ``.svg`` show the probabilities over time; ``.mp4`` and ``.gif`` are the video
                with the best classes of the nearest window in each frame.
            video: the file that the predictions are of.
            top_k: classes of a window, or of the picture.
            backend: the reader of the video.

        Raises:
            ConfigError: for another ending.
        """
        path = check_timeline_output(path)
        kind = path.suffix.lower()
        numbers = range(len(self.times))
        seconds = self.times.round(3).tolist()
        if kind in ('.mp4', '.gif'):
            rewrite_video(
                video,
                path,
                lambda frame, time: annotate_frame(frame, self.top(self.at(time), top_k)),
                backend,
            )
        elif kind == '.csv':
            rows = [
                (*seconds[window], rank, label, round(value, 6))
                for window in numbers
                for rank, (label, value) in enumerate(self.top(window, top_k), start=1)
            ]
            write_table(path, ('start', 'end', 'rank', 'label', 'probability'), rows)
        elif kind == '.json':
            windows = [
                dict(start=start, end=end, classes=dict(self.top(window, top_k)))
                for window, (start, end) in zip(numbers, seconds)
            ]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(dict(video=str(video), windows=windows), indent=1) + '\n')
        else:
            save_figure(self.draw(top_k, Path(video).name), path)

    @styled
    def draw(self, top_k: int = 5, title: str = '') -> Figure:
        """Draw the probabilities over time of the classes with the highest peaks.

        Args:
            top_k: how many classes.
            title: above the picture.
        """
        figure = Figure(figsize=(9, 3.2))
        axes = figure.subplots()
        middles = self.times.mean(1)
        best = np.argsort(-self.scores.max(0), kind='stable')[:top_k]
        for rank, label in enumerate(best):
            style = ('-', '--', ':')[rank // len(COLOURS) % 3]
            axes.plot(middles, self.scores[:, label], style, marker='.', label=self.labels[label])
        axes.set(xlim=(self.times.min(), self.times.max()), ylim=(0, 1.02), title=title)
        axes.set(xlabel='seconds, middle of the window', ylabel='probability')
        figure.legend(loc='outside right upper')
        return figure


def check_timeline_output(path: str | Path) -> Path:
    """Check that a timeline can be written under this name.

    Raises:
        ConfigError: for an unknown ending.
    """
    return check_picture(path, ENDINGS)
