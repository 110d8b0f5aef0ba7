"""Makes small videos whose class can only be told from motion.

    python tools/quickstart/motion_videos.py OUT [--videos DIR]

Every video shows textured shapes over a textured background. What they look
like and where they are does not depend on the class: the class is how they
move, and one frame says nothing about it. Played backwards, a video of a class
is one of the opposite class.

OUT gets `unlabelled/motions` (the training videos), `heldout`, and the lists
`train.txt` and `heldout.txt` in MMAction2's format; with --videos also
`unlabelled/yours`, small excerpts of the videos in DIR.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import amd_mm  # noqa: F401, its import-time fixes serve what follows
import av
import cv2
import numpy as np
from amd_mm.datasets import UnreadableVideoError, find_videos, open_video

MOTIONS = ('left', 'right', 'up', 'down', 'clockwise', 'counter-clockwise', 'grow', 'shrink')
SIDE = 64  # pixels of a frame
NUM_FRAMES = 20
FPS = 10
_NUM_SHAPES = 3
_RADIUS = (7.0, 24.0)  # pixels
_SPEED = (3.0, 5.0)  # pixels a frame
_ORBIT = (6.0, 9.0)  # pixels
_GROWTH = (0.12, 0.18)  # of the radius' logarithm, a frame
_CONTRAST = 0.8  # of a shape's texture
_EXCERPT = 64  # frames of an own video


@dataclass(frozen=True)
class Shape:
    """A textured shape.

    Attributes:
        sprite (np.ndarray): (64, 64, 4), float32, RGB up to 255 and opacity
            up to 1; the shape's radius is half the side.
        place (np.ndarray): (2, ), x and y, pixels, at time 0.
        log_radius (float): Logarithm of the radius in pixels, at time 0.
    """

    sprite: np.ndarray
    place: np.ndarray
    log_radius: float


@dataclass(frozen=True)
class Pace:
    """How fast the shapes of a video move, whichever way.

    Attributes:
        speed (float): Pixels a frame.
        growth (float): Of the radius' logarithm, a frame.
        orbit (float): Radius of the circle for rotations, pixels.
        angle (float): Where on the circle they are at time 0.
    """

    speed: float
    growth: float
    orbit: float
    angle: float

    def shift(self, motion: str, time: int) -> np.ndarray:
        """X and y by which shapes are off their place at a frame."""
        along = self.speed * time
        if motion in ('clockwise', 'counter-clockwise'):
            turn = along / self.orbit
            # y points down: a growing angle turns clockwise on the screen.
            angle = self.angle + (turn if motion == 'clockwise' else -turn)
            places = [(np.cos(at), np.sin(at)) for at in (angle, self.angle)]
            return self.orbit * np.subtract(*places)
        steps = dict(left=(-1, 0), right=(1, 0), up=(0, -1), down=(0, 1))
        return along * np.array(steps.get(motion, (0, 0)))

    def swelling(self, motion: str, time: int) -> float:
        """What has been added to the radius' logarithm at a frame."""
        return self.growth * time * dict(grow=1, shrink=-1).get(motion, 0)


def _noise(random: np.random.Generator, cells: int, side: int) -> np.ndarray:
    """Smooth colour noise (side, side, 3), standard normal in its cells."""
    grid = random.standard_normal((cells, cells, 3)).astype(np.float32)
    return cv2.resize(grid, (side, side), interpolation=cv2.INTER_CUBIC)


def _background(random: np.random.Generator) -> np.ndarray:
    level = random.uniform(40, 80, 3).astype(np.float32)
    texture = 9 * _noise(random, 4, SIDE) + 5 * _noise(random, 16, SIDE)
    return level + texture


def _sprite(random: np.random.Generator) -> np.ndarray:
    """(64, 64, 4): a random form with a random texture."""
    y, x = np.mgrid[-1:1:64j, -1:1:64j].astype(np.float32)
    tilt = random.uniform(0, 2 * np.pi)
    u, v = (x * np.cos(tilt) + y * np.sin(tilt), y * np.cos(tilt) - x * np.sin(tilt))
    form = random.integers(4)
    distance = (
        np.hypot(u, v),
        np.maximum(abs(u), abs(v)) * 1.3,
        np.maximum(abs(u) * 1.2 + v * 0.6, -v) * 1.5,
        abs(np.hypot(u, v) - 0.6) * 2.5,
    )[form]
    opacity = np.clip((0.95 - distance) * 8, 0, 1)
    waves = random.uniform(2, 5)
    texture = (
        np.sin(u * waves * 2),
        np.sin(u * waves) * np.sin(v * waves),
        _noise(random, 5, 64)[..., 0],
    )[random.integers(3)]
    first, second = random.uniform(130, 255, (2, 3))
    mix = np.clip(texture[..., None] * _CONTRAST + 0.5, 0, 1)
    colour = first * mix + second * (1 - mix)
    return np.dstack([colour, opacity]).astype(np.float32)


def _shape(random: np.random.Generator) -> Shape:
    return Shape(
        sprite=_sprite(random),
        place=random.uniform(0, SIDE, 2),
        log_radius=random.uniform(*np.log(_RADIUS)),
    )


def _paint(frame: np.ndarray, shape: Shape, pace: Pace, motion: str, time: int) -> None:
    """Paint a shape where it is at a frame.

    What leaves the picture comes in on the other side, and what has grown to
    the largest size begins again with the smallest: so places and sizes are
    spread alike at every time and for every motion.
    """
    low, high = np.log(_RADIUS)
    size = shape.log_radius + pace.swelling(motion, time) - low
    radius = np.exp(low + size % (high - low))
    place = (shape.place + pace.shift(motion, time)) % SIDE
    for x in (place[0] - SIDE, place[0], place[0] + SIDE):
        for y in (place[1] - SIDE, place[1], place[1] + SIDE):
            _paint_once(frame, shape.sprite, x, y, radius)


def _paint_once(frame: np.ndarray, sprite: np.ndarray, x: float, y: float, radius: float) -> None:
    left, top = (max(int(value - radius), 0) for value in (x, y))
    right, bottom = (min(int(value + radius) + 2, SIDE) for value in (x, y))
    if left >= right or top >= bottom:
        return
    scale = 2 * radius / sprite.shape[0]
    matrix = np.array([[scale, 0, x - radius - left], [0, scale, y - radius - top]])
    layer = cv2.warpAffine(sprite, matrix, (right - left, bottom - top))
    part = frame[top:bottom, left:right]
    part += (layer[..., :3] - part) * layer[..., 3:]


def render(motion: str, seed: int) -> np.ndarray:
    """The frames of a video.

    Args:
        motion (str): One of ``MOTIONS``.
        seed (int): Decides background, shapes, places and pace. Videos of
            one seed have one frame in common, the one at the middle.

    Returns:
        np.ndarray: (T, H, W, 3), uint8, RGB.
    """
    random = np.random.default_rng(seed)
    background = _background(random)
    shapes = [_shape(random) for _ in range(_NUM_SHAPES)]
    pace = Pace(
        speed=random.uniform(*_SPEED),
        growth=random.uniform(*_GROWTH),
        orbit=random.uniform(*_ORBIT),
        angle=random.uniform(0, 2 * np.pi),
    )
    frames = []
    for index in range(NUM_FRAMES):
        frame = background.copy()
        for shape in shapes:
            _paint(frame, shape, pace, motion, index - NUM_FRAMES // 2)
        frames.append(np.clip(frame, 0, 255).astype(np.uint8))
    return np.stack(frames)


def write_video(path: Path, frames: np.ndarray) -> None:
    """Write an mp4 file (H.264) that is cheap to seek in.

    Args:
        path (Path): The file; appears under this name when it is complete.
        frames (np.ndarray): (T, H, W, 3), uint8, RGB.
    """
    part = path.with_suffix('.part')
    with av.open(str(part), 'w', format='mp4') as file:
        stream = file.add_stream('libx264', rate=FPS)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = 'yuv420p'
        stream.options = dict(crf='16', preset='superfast', g='10')
        stream.codec_context.thread_count = 1
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(frame, format='rgb24')
            file.mux(stream.encode(picture))
        file.mux(stream.encode())
    part.replace(path)


def make_labelled(folder: Path, name: str, count: int, first_seed: int, list_file: str) -> None:
    """Write videos of all motions in turn, and the list that labels them.

    Args:
        folder (Path): Where lists and names in them start from.
        name (str): The folder of the videos, below ``folder``.
        count (int): How many videos.
        first_seed (int): Their seeds count on from here.
        list_file (str): Name of the list; written last.
    """
    names = [f'{name}/{index:05}.mp4' for index in range(count)]
    (folder / name).mkdir(parents=True, exist_ok=True)
    jobs = [
        partial(_make_video, folder / path, index, first_seed + index)
        for index, path in enumerate(names)
    ]
    _run(jobs, f'{name}: {count} videos')
    lines = [f'{path} {index % len(MOTIONS)}\n' for index, path in enumerate(names)]
    (folder / list_file).write_text(''.join(lines))


def _make_video(path: Path, index: int, seed: int) -> None:
    if not path.exists():
        write_video(path, render(MOTIONS[index % len(MOTIONS)], seed))


def make_excerpts(source: Path, folder: Path, limit: int) -> list[str]:
    """Write small excerpts of somebody's videos.

    So that large videos do not slow the quickstart down: frames from the
    middle, made small.

    Args:
        source (Path): A folder, searched recursively.
        folder (Path): Where the excerpts go.
        limit (int): At most so many videos, evenly spaced in the order of
            their names.

    Returns:
        List[str]: A line for every video that could not be read.
    """
    names = find_videos(str(source))
    chosen = [names[int(place)] for place in np.linspace(0, len(names) - 1, min(len(names), limit))]
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [
        partial(_make_excerpt, source / name, folder / f'{index:05}.mp4')
        for index, name in enumerate(chosen)
    ]
    problems = _run(jobs, f'excerpts of {len(chosen)} of {len(names)} videos in {source}')
    return [problem for problem in problems if problem]


def _make_excerpt(source: Path, path: Path) -> str | None:
    """Returns what is wrong with the video, if something is."""
    if path.exists():
        return None
    try:
        with open_video(str(source)) as reader:
            start = max(0, (len(reader) - _EXCERPT) // 2)
            frames = reader.read(range(start, min(start + _EXCERPT, len(reader))))
    except UnreadableVideoError as error:
        return str(error)
    height, width = frames[0].shape[:2]
    scale = SIDE / min(height, width)
    # Even sides, as H.264 wants them.
    size = [max(SIDE, round(side * scale / 2) * 2) for side in (width, height)]
    frames = [cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames]
    write_video(path, np.stack(frames))
    return None


def _run(jobs: Sequence[Callable], what: str) -> list:
    """Run jobs on all cores, saying how far they are; their results."""
    results = []
    with ProcessPoolExecutor(
        max_workers=os.cpu_count(), initializer=partial(cv2.setNumThreads, 1)
    ) as pool:
        running = [pool.submit(job) for job in jobs]
        for number, future in enumerate(as_completed(running), start=1):
            results.append(future.result())
            if number % max(1, len(jobs) // 5) == 0:
                print(f'{what}: {100 * number // len(jobs)} %', flush=True)
    return results


def main(arguments: Iterable[str] | None = None) -> None:
    """Read the command line and make the videos."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('out', type=Path, help='folder for the videos')
    parser.add_argument('--train', type=int, default=2048, help='training videos')
    parser.add_argument('--heldout', type=int, default=1024, help='held-out videos')
    parser.add_argument(
        '--videos', type=Path, help='a folder of videos of your own, for pre-training'
    )
    parser.add_argument(
        '--max-videos', type=int, default=256, help='take at most so many of your own'
    )
    args = parser.parse_args(arguments)
    make_labelled(args.out, 'unlabelled/motions', args.train, 0, 'train.txt')
    make_labelled(args.out, 'heldout', args.heldout, 10**6, 'heldout.txt')
    if args.videos is None:
        return
    try:
        problems = make_excerpts(args.videos, args.out / 'unlabelled/yours', args.max_videos)
    except FileNotFoundError as error:
        sys.exit(f'--videos: {error}')
    for problem in problems:
        print(f'left out: {problem}')


if __name__ == '__main__':
    main()
