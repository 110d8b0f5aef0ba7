"""Boxes of people with what each of them does."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from .annotated_video import Rows, fit_text, text_font

# Told apart also by most colour-blind people (Okabe and Ito).
_COLOURS = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)


class Person(NamedTuple):
    """A person in a frame.

    Attributes:
        box (Sequence[float]): x1, y1, x2, y2, shares of width and height.
        actions (Sequence[Tuple[str, float]]): Names and probabilities (0 to
            1), from top to bottom; may be empty.
    """

    box: Sequence[float]
    actions: Rows


def draw_people(frame: np.ndarray, people: Sequence[Person]) -> np.ndarray:
    """Draw boxes, and write actions above each or, without room, into it.

    Colours go from left to right and mean nothing else.

    Args:
        frame (np.ndarray): (H, W, 3), uint8, RGB. Not changed.
        people (Sequence[Person]): From none to many.

    Returns:
        np.ndarray: Of the same shape and type.
    """
    height, width = frame.shape[:2]
    picture = Image.fromarray(frame).convert('RGBA')
    layer = Image.new('RGBA', picture.size)
    draw = ImageDraw.Draw(layer)
    people = sorted(people, key=lambda person: person.box[0])
    boxes = [_pixels(person.box, width, height) for person in people]
    line = max(2, height // 200)
    for number, box in enumerate(boxes):
        colour = _COLOURS[number % len(_COLOURS)]
        draw.rectangle(box, outline=(*colour, 255), width=line)
    # After all boxes, so that no line goes through a text.
    for number, (box, person) in enumerate(zip(boxes, people)):
        colour = _COLOURS[number % len(_COLOURS)]
        _write(draw, box, person.actions, colour, (width, height))
    return np.asarray(Image.alpha_composite(picture, layer).convert('RGB'))


def _pixels(box: Sequence[float], width: int, height: int) -> list[int]:
    x1, y1, x2, y2 = np.clip(box, 0, 1)
    return [
        round(x1 * (width - 1)),
        round(y1 * (height - 1)),
        round(x2 * (width - 1)),
        round(y2 * (height - 1)),
    ]


def _write(
    draw: ImageDraw.ImageDraw,
    box: Sequence[int],
    rows: Rows,
    colour: tuple[int, int, int],
    size: tuple[int, int],
) -> None:
    if not rows:
        return
    letters = max(11, size[1] // 36)
    font, step = text_font(letters), round(1.3 * letters)
    texts = [
        fit_text(f'{100 * value:.0f} % {name}', font, size[0] - letters) for name, value in rows
    ]
    wide = round(max(map(font.getlength, texts))) + letters
    high = step * len(texts) + letters // 3
    left = max(0, min(box[0], size[0] - wide))
    top = box[1] - high if box[1] >= high else box[1]
    draw.rectangle((left, top, left + wide, top + high), fill=(0, 0, 0, 170))
    draw.rectangle((left, top, left + 2, top + high), fill=(*colour, 255))
    for number, text in enumerate(texts):
        draw.text(
            (left + letters // 2, top + step * number + step // 2 + 1),
            text,
            fill=(255, 255, 255, 255),
            font=font,
            anchor='lm',
        )
