"""A small data set in AVA's format: people whose actions show in motion.

Every video shows two people, one in each half: rectangles with a head, of random size and
brightness, before a random background. A person stands, walks to and fro or jumps up and down. One
picture does not tell which. Proposals are the true boxes, a little moved, with a confidence of 0.9,
and a wrong box of confidence 0.3 in every frame.
"""

import pickle
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

WIDTH, HEIGHT, FPS = 64, 48, 10
SIZE = np.array([WIDTH, HEIGHT] * 2)
START, SECONDS = 900, 4
TIMES = (901, 902, 903)
ACTIONS = {1: 'stand', 2: 'walk', 3: 'jump'}
# Two frames with labels that are wrong on purpose.
EXCLUDED = (0, 902), (1, 903)


class Person(NamedTuple):
    """Centre, width, height (pixels), grey value, phase, action."""

    x: float
    y: float
    width: float
    height: float
    grey: int
    phase: int
    action: int

    def box(self, frame: int) -> tuple[int, int, int, int]:
        """x1, y1, x2, y2 in pixels, in a frame."""
        shift = abs((frame + self.phase) % 16 - 8) * 2 - 8  # -8 to 8 and back
        x = self.x + (shift if self.action == 2 else 0)
        y = self.y + (shift if self.action == 3 else 0)
        half = self.width / 2, self.height / 2
        return round(x - half[0]), round(y - half[1]), round(x + half[0]), round(y + half[1])


def make_people(folder: Path, videos: int, seed: int = 0, names: str = '{}') -> dict[str, str]:
    """Write videos, raw frames and all files of the set.

    Args:
        folder: is made.
        videos: how many.
        seed: decides everything.
        names: of the videos, by number.

    Returns:
        The paths ``videos``, ``frames``, ``ann_file``, ``exclude_file``, ``label_file`` and
        ``proposal_file``.
    """
    rng = np.random.default_rng(seed)
    kinds = ('videos', 'frames', 'ann_file', 'exclude_file', 'label_file', 'proposal_file')
    endings = ('', '', '.csv', '.csv', '.pbtxt', '.pkl')
    paths = {name: folder / (name + end) for name, end in zip(kinds, endings)}
    paths['videos'].mkdir(parents=True)
    lines, proposals = [], {}
    for number in range(videos):
        video = names.format(number)
        people = [_person(rng, half) for half in (0, 1)]
        _write(paths, video, _draw(rng, people))
        for time in TIMES:
            wrong = (number, time) in EXCLUDED
            found = [[0.3, 0.8, 0.6, 1.0, 0.3]]
            for which, person in enumerate(people):
                box = np.clip(np.array(person.box((time - START) * FPS)) / SIZE, 0, 1)
                corners = ','.join(f'{value:.3f}' for value in box)
                label = person.action % 3 + 1 if wrong else person.action
                lines.append(f'{video},{time:04d},{corners},{label},{which}\n')
                found.append([*np.clip(box + rng.uniform(-0.01, 0.01, 4), 0, 1), 0.9])
            proposals[f'{video},{time:04d}'] = np.array(found)
    excluded = [f'{names.format(number)},{time}\n' for number, time in EXCLUDED]
    items = [f'item {{\n  name: "{name}"\n  id: {label}\n}}\n' for label, name in ACTIONS.items()]
    paths['ann_file'].write_text(''.join(lines))
    paths['exclude_file'].write_text(''.join(excluded))
    paths['label_file'].write_text(''.join(items))
    paths['proposal_file'].write_bytes(pickle.dumps(proposals))
    return {name: str(path) for name, path in paths.items()}


def _person(rng: np.random.Generator, half: int) -> Person:
    return Person(
        x=16 + 32 * half + rng.uniform(-2, 2),
        y=24 + rng.uniform(-2, 2),
        width=rng.uniform(9, 13),
        height=rng.uniform(20, 26),
        grey=int(rng.integers(170, 255)),
        phase=int(rng.integers(16)),
        action=int(rng.integers(1, 4)),
    )


def _draw(rng: np.random.Generator, people: list[Person]) -> list[np.ndarray]:
    background = cv2.resize(rng.integers(0, 90, (3, 4, 3), dtype=np.uint8), (WIDTH, HEIGHT))
    frames = []
    for number in range(SECONDS * FPS):
        frame = background.copy()
        for person in people:
            x1, y1, x2, y2 = person.box(number)
            grey = (person.grey,) * 3
            radius = (x2 - x1) // 3
            cv2.rectangle(frame, (x1, y1 + 2 * radius), (x2, y2), grey, -1)
            cv2.circle(frame, ((x1 + x2) // 2, y1 + radius), radius, grey, -1)
        frames.append(frame)
    return frames


def _write(paths: dict[str, Path], name: str, frames: list[np.ndarray]) -> None:
    codec = cv2.VideoWriter_fourcc(*'mp4v')
    writer = cv2.VideoWriter(str(paths['videos'] / f'{name}.mp4'), codec, FPS, (WIDTH, HEIGHT))
    assert writer.isOpened()
    (paths['frames'] / name).mkdir(parents=True)
    for number, frame in enumerate(frames, start=1):
        writer.write(frame)
        cv2.imwrite(str(paths['frames'] / name / f'img_{number:05}.jpg'), frame)
    writer.release()
