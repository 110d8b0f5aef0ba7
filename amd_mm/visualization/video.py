"""Videos with predictions written into their frames."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from matplotlib.font_manager import findfont
from PIL import Image, ImageDraw, ImageFont

from ..datasets import VideoReader, open_video
from ..errors import ConfigError
from .plots import COLOURS

Rows = Sequence[tuple[str, float]]  # names and probabilities, from top to bottom

MOVING = ('.mp4', '.gif')
_MIN_HEIGHT = 240  # smaller frames are enlarged to make the text legible
_GIF_HEIGHT = 240
_GIF_FPS = 10
_FALLBACK_FPS = 25.0  # of a file without a frame rate
_CHUNK = 32  # frames in memory
_COLOURS = [COLOURS[at] for at in (4, 5, 2, 3, 1, 0)]  # the bright ones first


class Person(NamedTuple):
    """A person in a frame.

    Attributes:
        box: x1, y1, x2, y2, relative to width and height.
        actions: names and probabilities, from top to bottom; may be empty.
    """

    box: Sequence[float]
    actions: Rows


def annotate_frame(frame: np.ndarray, rows: Rows) -> np.ndarray:
    """Write names and probabilities, with bars, into the upper left of a frame (H, W, 3), uint8."""
    image = Image.fromarray(frame)
    letters = max(11, image.height // 22)
    _write_rows(image, rows, (0, 0), letters, bar=4 * letters)
    return np.asarray(image)


def draw_people(frame: np.ndarray, people: Sequence[Person]) -> np.ndarray:
    """Draw a box around each person in a frame (H, W, 3), uint8, and the actions above it.

    Actions stand in the box if there is no space above it. Colours go from left to right and have
    no other meaning.
    """
    image = Image.fromarray(frame)
    people = sorted(people, key=lambda person: person.box[0])
    size = np.array([image.width - 1, image.height - 1] * 2)
    boxes = [(np.clip(person.box, 0, 1) * size).round().astype(int).tolist() for person in people]
    colours = [_COLOURS[number % len(_COLOURS)] for number in range(len(people))]
    for box, colour in zip(boxes, colours):
        ImageDraw.Draw(image).rectangle(box, outline=colour, width=max(2, image.height // 200))
    # After all boxes, so that no line crosses a text.
    for box, colour, person in zip(boxes, colours, people):
        if person.actions:
            _write_rows(image, person.actions, box[:2], max(11, image.height // 36), colour)
    return np.asarray(image)


def _write_rows(
    image: Image.Image,
    rows: Rows,
    corner: tuple[int, int],
    letters: int,
    colour: str | None = None,
    bar: int = 0,
) -> None:
    """Write a line per row on a dark box, inside the image.

    Args:
        image: changed in place.
        rows: names and probabilities.
        corner: left and lower edge of the box; its upper edge if it would leave the image.
        letters: font size, pixels.
        colour: of a line along the left edge.
        bar: width of a full probability bar, pixels.
    """
    draw = ImageDraw.Draw(image, 'RGBA')  # blends
    font = ImageFont.truetype(findfont('DejaVu Sans'), letters)
    step, margin = round(1.5 * letters), letters // 2
    indent = margin + bool(bar) * (bar + margin)
    texts = [
        _fit(f'{100 * value:.1f} %  {name}', font, image.width - indent - 2 * margin)
        for name, value in rows
    ]
    width = indent + round(max(map(font.getlength, texts), default=0)) + margin
    height = step * len(rows) + margin
    left = max(0, min(corner[0], image.width - width))
    top = corner[1] - height if corner[1] >= height else corner[1]
    draw.rectangle((left, top, left + width, top + height), fill=(0, 0, 0, 160))
    if colour:
        draw.rectangle((left, top, left + 2, top + height), fill=colour)
    for number, (text, (_, value)) in enumerate(zip(texts, rows)):
        middle = top + margin // 2 + number * step + step // 2
        if bar:
            x0, y0, y1 = left + margin, middle - letters // 3, middle + letters // 3
            draw.rectangle((x0, y0, x0 + bar, y1), fill=(255, 255, 255, 50))
            draw.rectangle((x0, y0, x0 + round(bar * np.clip(value, 0, 1)), y1), fill='white')
        draw.text((left + indent, middle), text, fill='white', font=font, anchor='lm')


def _fit(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """Cut a text that is wider than so many pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + '…') > width:
        text = text[:-1]
    return text + '…'


def write_annotated_video(
    video: str | Path, path: str | Path, rows: Rows, backend: str = 'pyav'
) -> Path:
    """Copy a video with names and probabilities in every frame, see :func:`rewrite_video`."""
    return rewrite_video(video, path, lambda frame, _: annotate_frame(frame, rows), backend)


def rewrite_video(
    video: str | Path,
    path: str | Path,
    draw: Callable[[np.ndarray, float], np.ndarray],
    backend: str = 'pyav',
) -> Path:
    """Copy a video with something drawn into every frame.

    Frames are read and written in chunks: memory does not depend on the length.

    Args:
        video: the video to read.
        path: ``.mp4`` (H.264, at the frame rate of the original) or ``.gif`` (240 pixels high, at
            most 10 frames per second).
        draw: function of a frame (H, W, 3), uint8, RGB, and its time in seconds; returns the frame
            to write, of the same shape.
        backend: video reader, see :func:`amd_mm.datasets.open_video`.

    Raises:
        ConfigError: For another ending.
        VideoError: If the video cannot be read.
    """
    path = check_output(path)
    with open_video(str(video), backend) as reader:
        fps = reader.avg_fps or _FALLBACK_FPS
        gif = path.suffix.lower() == '.gif'
        step = max(1, round(fps / _GIF_FPS)) if gif else 1
        times = reader.times if reader.avg_fps else np.arange(len(reader)) / fps
        frames = _drawn(reader, times, step, draw, _GIF_HEIGHT * gif)
        return write_frames(path, frames, fps / step)


def _drawn(
    reader: VideoReader, times: np.ndarray, step: int, draw: Callable, height: int
) -> Iterator[np.ndarray]:
    wanted = range(0, len(reader), step)
    for start in range(0, len(wanted), _CHUNK):
        numbers = wanted[start : start + _CHUNK]
        for number, frame in zip(numbers, reader.read(numbers)):
            yield draw(legible_size(frame, height), float(times[number]))


def legible_size(frame: np.ndarray, height: int = 0) -> np.ndarray:
    """Resize a frame to even sides, which H.264 needs, and legible text.

    Args:
        frame: (H, W, 3), uint8.
        height: of the result; 0 keeps the height, but at least 240 pixels.
    """
    old, width = frame.shape[:2]
    new = height or max(old, _MIN_HEIGHT)
    size = round(width * new / old / 2) * 2, new // 2 * 2
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA)


def check_output(path: str | Path) -> Path:
    """Check that a video can be written under this name.

    Raises:
        ConfigError: For an ending other than .mp4 and .gif.
    """
    path = Path(path)
    if path.suffix.lower() not in MOVING:
        raise ConfigError(f'{path} has to end in .mp4 or .gif')
    return path


def write_frames(path: str | Path, frames: Iterable[np.ndarray], fps: float) -> Path:
    """Write frames (H, W, 3), uint8, RGB, of one size with even sides. The folder is created.

    Raises:
        ConfigError: For an ending other than .mp4 and .gif.
    """
    path = check_output(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() == '.gif':
        first, *rest = [Image.fromarray(frame).quantize() for frame in frames]
        first.save(path, save_all=True, append_images=rest, duration=round(1000 / fps), loop=0)
        return path
    import av

    with av.open(str(path), 'w') as file:
        stream = file.add_stream('libx264', rate=Fraction(fps).limit_denominator(1001))
        stream.pix_fmt = 'yuv420p'
        for number, frame in enumerate(frames):
            if number == 0:
                stream.height, stream.width = frame.shape[:2]
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format='rgb24')))
        file.mux(stream.encode())
    return path
