"""Videos with what a model says about them written into the picture."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from amd_mm.datasets import VideoReader, open_video
from PIL import Image, ImageDraw, ImageFont

Rows = Sequence[tuple[str, float]]
Draw = Callable[[np.ndarray, float], np.ndarray]

MIN_HEIGHT = 240
"""Smaller frames are enlarged to this, pixels, for the text to be legible."""
_GIF_HEIGHT = 240
_GIF_FPS = 10
_FALLBACK_FPS = 25.0  # where the file does not say
_CHUNK = 32  # frames in memory


def annotate_frame(frame: np.ndarray, rows: Rows) -> np.ndarray:
    """Write names and probabilities into the upper left of a frame.

    Args:
        frame (np.ndarray): (H, W, 3), uint8, RGB. Not changed.
        rows (Sequence[Tuple[str, float]]): (name, probability from 0 to 1),
            from top to bottom; a bar shows each probability.

    Returns:
        np.ndarray: Of the same shape and type.
    """
    height, width = frame.shape[:2]
    size = max(11, height // 22)
    font = text_font(size)
    step, margin = round(1.5 * size), size // 2
    bar = 4 * size
    texts = [
        fit_text(f'{100 * value:.1f} %  {name}', font, width - bar - 4 * margin)
        for name, value in rows
    ]
    right = bar + 3 * margin + max([round(font.getlength(text)) for text in texts], default=0)
    picture = Image.fromarray(frame).convert('RGBA')
    layer = Image.new('RGBA', picture.size)
    draw = ImageDraw.Draw(layer)
    draw.rectangle((0, 0, right, step * len(rows) + margin), fill=(0, 0, 0, 150))
    for number, (text, (_, value)) in enumerate(zip(texts, rows)):
        top = margin // 2 + number * step
        middle = top + step // 2
        box = (margin, middle - size // 3, margin + bar, middle + size // 3)
        draw.rectangle(box, fill=(255, 255, 255, 50))
        filled = margin + round(bar * min(max(value, 0), 1))
        draw.rectangle((*box[:2], filled, box[3]), fill=(255, 255, 255, 255))
        draw.text(
            (bar + 2 * margin, middle), text, fill=(255, 255, 255, 255), font=font, anchor='lm'
        )
    return np.asarray(Image.alpha_composite(picture, layer).convert('RGB'))


def text_font(size: int) -> ImageFont.FreeTypeFont:
    """The font of all texts in pictures, so many pixels high."""
    return ImageFont.truetype(
        str(Path(matplotlib.get_data_path(), 'fonts/ttf/DejaVuSans.ttf')), size
    )


def fit_text(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """A text that is no wider than so many pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + '…') > width:
        text = text[:-1]
    return text + '…'


def write_annotated_video(
    video: str | Path, path: str | Path, rows: Rows, backend: str = 'decord'
) -> Path:
    """Write a video again, with names and probabilities in every frame.

    Args:
        video (str | Path): See :func:`rewrite_video`.
        path (str | Path): See :func:`rewrite_video`.
        rows (Sequence[Tuple[str, float]]): See :func:`annotate_frame`.
        backend (str): See :func:`rewrite_video`.

    Returns:
        Path: The file.

    Raises:
        ValueError: For another ending.
        UnreadableVideoError: If the video cannot be read.
    """
    return rewrite_video(video, path, lambda frame, _: annotate_frame(frame, rows), backend)


def rewrite_video(video: str | Path, path: str | Path, draw: Draw, backend: str = 'decord') -> Path:
    """Write a video again, with something drawn into every frame.

    It is read and written piece by piece, so its length does not matter; the
    file appears under its name when it is complete.

    Args:
        video (str | Path): To read.
        path (str | Path): To write: ``.mp4`` (H.264, the frame rate of the
            original) or ``.gif`` (smaller, at most 10 frames a second).
        draw (Callable): From a frame (H, W, 3), uint8, RGB, and its time
            (seconds from the beginning) to the frame to write, of the same
            shape.
        backend (str): The reader, see :func:`amd_mm.datasets.open_video`.

    Returns:
        Path: The file.

    Raises:
        ValueError: For another ending.
        UnreadableVideoError: If the video cannot be read.
    """
    path = check_output(path)
    with open_video(str(video), backend) as reader:
        fps = reader.avg_fps or _FALLBACK_FPS
        if path.suffix.lower() == '.gif':
            step, height = max(1, round(fps / _GIF_FPS)), _GIF_HEIGHT
        else:
            step, height = 1, None
        frames = _frames(reader, step, draw, height)
        return write_frames(path, frames, fps / step)


def write_frames(
    path: str | Path, frames: Iterable[np.ndarray], fps: float, colours: int = 64
) -> Path:
    """Write pictures as a video, which appears when it is complete.

    Args:
        path (str | Path): ``.mp4`` (H.264) or ``.gif``; folders are made.
        frames (Iterable[np.ndarray]): (H, W, 3) each, uint8, RGB, of one
            size; even sides for H.264.
        fps (float): Frames a second.
        colours (int): Of each frame of a ``.gif``, at most 256.

    Returns:
        Path: The file.

    Raises:
        ValueError: For another ending.
    """
    path = check_output(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f'.{path.name}.part')
    try:
        if path.suffix.lower() == '.gif':
            _write_gif(part, frames, fps, colours)
        else:
            _write_mp4(part, frames, fps)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def check_output(path: str | Path) -> Path:
    """The path, if videos can be written to one with this ending.

    Raises:
        ValueError: If not.
    """
    path = Path(path)
    if path.suffix.lower() not in ('.mp4', '.gif'):
        raise ValueError(f'{path} has to end in .mp4 or .gif')
    return path


def _frames(reader: VideoReader, step: int, draw: Draw, height: int | None) -> Iterator[np.ndarray]:
    """Drawn frames."""
    wanted = list(range(0, len(reader), step))
    fps = reader.avg_fps or _FALLBACK_FPS
    for start in range(0, len(wanted), _CHUNK):
        chosen = wanted[start : start + _CHUNK]
        for number, frame in zip(chosen, reader.read(chosen)):
            yield draw(legible_size(frame, height), number / fps)


def legible_size(frame: np.ndarray, height: int | None = None) -> np.ndarray:
    """A frame with even sides, as H.264 wants them, and room for text.

    Args:
        frame (np.ndarray): (H, W, 3), uint8.
        height (int, optional): Of the result, pixels; by default that of the
            frame, but at least :data:`MIN_HEIGHT`.

    Returns:
        np.ndarray: (height, width, 3), uint8.
    """
    old, width = frame.shape[:2]
    new = height or max(old, MIN_HEIGHT)
    size = round(width * new / old / 2) * 2, new // 2 * 2
    if size == (width, old):
        return frame
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA)


def _write_mp4(path: Path, frames: Iterable[np.ndarray], fps: float) -> None:
    import av  # here: nothing else of this package needs it for pictures

    with av.open(str(path), 'w', format='mp4') as file:
        stream = file.add_stream('libx264', rate=Fraction(fps).limit_denominator(1001))
        stream.pix_fmt = 'yuv420p'
        for number, frame in enumerate(frames):
            if number == 0:
                stream.height, stream.width = frame.shape[:2]
            picture = av.VideoFrame.from_ndarray(frame, format='rgb24')
            file.mux(stream.encode(picture))
        file.mux(stream.encode())


def _write_gif(path: Path, frames: Iterable[np.ndarray], fps: float, colours: int) -> None:
    pictures: list[Image.Image] = [Image.fromarray(frame).quantize(colours) for frame in frames]
    pictures[0].save(
        path,
        format='GIF',
        save_all=True,
        append_images=pictures[1:],
        duration=round(1000 / fps),
        loop=0,
    )
