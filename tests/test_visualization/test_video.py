"""Predictions are written into frames, and frames into videos."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from amd_mm.datasets import open_video
from amd_mm.errors import ConfigError
from amd_mm.visualization.video import (
    Person,
    annotate_frame,
    draw_people,
    legible_size,
    write_annotated_video,
)
from PIL import Image


def test_the_text_is_in_the_upper_left() -> None:
    frame = np.full((240, 320, 3), 128, np.uint8)
    made = annotate_frame(frame, [('Straße überqueren', 0.75), ('x' * 500, 0.1)])
    assert made.shape == frame.shape and made.dtype == np.uint8
    assert (frame == 128).all()
    changed = (made != frame).any(-1)
    assert changed[:20, :40].all() and not changed[80:].any()
    # The bar of the first row is longer than that of the second.
    bars = [(made[line, 5:49] == 255).all(-1).sum() for line in (10, 26)]
    assert bars[0] > 3 * bars[1] > 0


def test_people_are_drawn_inside_the_frame() -> None:
    frame = np.full((240, 320, 3), 128, np.uint8)
    people = [
        Person((0.9, 0, 1.2, 0.3), [('lift/pick up ' * 9, 0.9), ('stand', 0.2)]),
        Person((0.5, 0.5, 0.9, 0.9), [('sit', 0.9), ('talk', 0.2)]),
        Person((0.1, 0.5, 0.3, 0.9), []),
    ]
    made = draw_people(frame, people)
    assert made.shape == frame.shape and made.dtype == np.uint8
    assert (frame == 128).all()
    changed = (made != frame).any(-1)
    # Colours from left to right. A box without text,
    assert tuple(made[150, 32]) == (230, 159, 0)
    assert not changed[40:118, :155].any()
    assert not changed[125:210, 40:90].any()
    # one with its text above,
    assert tuple(made[150, 160]) == (86, 180, 233)
    assert changed[85:118, 160:200].mean() > 0.9
    assert not changed[125:210, 165:280].any()
    # and one at the corner with its text, cut, inside.
    assert tuple(made[50, 287]) == (0, 158, 115)
    assert changed[2:20, 20:318].mean() > 0.9
    assert not changed[225:].any()


def test_small_and_odd_frames() -> None:
    assert legible_size(np.zeros((64, 81, 3), np.uint8)).shape == (240, 304, 3)
    assert legible_size(np.zeros((481, 641, 3), np.uint8)).shape == (480, 640, 3)


def test_mp4_and_gif(tmp_path: Path, make_video: Callable) -> None:
    video = make_video(str(tmp_path / 'a.mp4'), frames=30)
    written = write_annotated_video(video, tmp_path / 'new' / 'a.mp4', [('a', 0.5)])
    with open_video(str(written)) as made, open_video(video) as original:
        assert len(made) == len(original)
        assert made.avg_fps == pytest.approx(original.avg_fps)
        assert made.read([0])[0].shape == (240, 320, 3)
    with Image.open(write_annotated_video(video, tmp_path / 'a.gif', [('a', 0.5)])) as made:
        assert made.n_frames == 15 and made.size == (320, 240)
        assert made.info['duration'] == pytest.approx(80, abs=10)
    with pytest.raises(ConfigError, match='.mp4 or .gif'):
        write_annotated_video(video, tmp_path / 'a.avi', [])
