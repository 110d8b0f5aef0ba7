"""Make small videos whose classes differ only in motion.

    python tools/quickstart/motion_videos.py OUT [--videos DIR]

Every video shows a shape over a dark background. Its colour is the same in all videos; its form,
size and place do not depend on the class. The class is the motion of the shape, which a single
frame does not show. Played backwards, a video shows the opposite class.

OUT gets `unlabelled/motions` (training videos), `heldout`, and the lists `train.txt` and
`heldout.txt` in MMAction2's format; with --videos also `unlabelled/yours`, small excerpts of the
videos in DIR.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import _venv  # noqa: F401, first: finds the packages
import av
import cv2
import numpy as np

MOTIONS = ('left', 'right', 'up', 'down', 'clockwise', 'counter-clockwise', 'grow', 'shrink')
DIRECTIONS = dict(left=(-1, 0), right=(1, 0), up=(0, -1), down=(0, 1))
COLOUR = (240, 180, 60)  # RGB
BACKGROUND = (32, 34, 44)
SIDE = 64  # pixels of a frame
NUM_FRAMES = 20
FPS = 10
RADIUS = (8.0, 20.0)  # pixels
SPEED = (3.0, 5.0)  # pixels per frame
ORBIT = (7.0, 10.0)  # radius of rotations, pixels
GROWTH = (0.11, 0.15)  # of the radius' logarithm, per frame
FADE = 0.15  # shapes fade in and out over this share of the range of sizes
EXCERPT = 64  # frames of an excerpt


@dataclass(frozen=True)
class Shape:
    """A shape.

    Attributes:
        sprite: (64, 64, 4) float32: RGB up to 255 and opacity up to 1.
        place: (2,), x and y in pixels at time 0.
        size: Place in the range of sizes at time 0, from 0 to 1.
    """

    sprite: np.ndarray
    place: np.ndarray
    size: float


@dataclass(frozen=True)
class Pace:
    """The speed of a video's shape, whatever the motion.

    Attributes:
        speed: Pixels per frame.
        growth: Of the radius' logarithm, per frame.
        orbit: Radius of a rotation's circle, pixels.
        angle: Place on that circle at time 0.
    """

    speed: float
    growth: float
    orbit: float
    angle: float

    def shift(self, motion: str, time: int) -> np.ndarray:
        """Distance from the place at time 0, (x, y)."""
        along = self.speed * time
        if motion in ('clockwise', 'counter-clockwise'):
            turn = along / self.orbit
            # y points down: a growing angle is clockwise on the screen.
            angle = self.angle + (turn if motion == 'clockwise' else -turn)
            places = [(np.cos(at), np.sin(at)) for at in (angle, self.angle)]
            return self.orbit * np.subtract(*places)
        return along * np.array(DIRECTIONS.get(motion, (0, 0)))

    def log_growth(self, motion: str, time: int) -> float:
        """Change of the radius' logarithm since time 0."""
        return self.growth * time * dict(grow=1, shrink=-1).get(motion, 0)


def make_sprite(random: np.random.Generator) -> np.ndarray:
    """A circle, square or triangle, (64, 64, 4) float32."""
    y, x = np.mgrid[-1:1:64j, -1:1:64j].astype(np.float32)
    tilt = random.uniform(0, 2 * np.pi)
    u, v = (x * np.cos(tilt) + y * np.sin(tilt), y * np.cos(tilt) - x * np.sin(tilt))
    distance = (
        np.hypot(u, v),  # circle
        np.maximum(abs(u), abs(v)) * 1.3,  # square
        np.maximum(abs(u) * 1.2 + v * 0.6, -v) * 1.5,  # triangle
    )[random.integers(3)]
    opacity = np.clip((0.95 - distance) * 8, 0, 1)
    return np.dstack([np.full((64, 64, 3), COLOUR), opacity]).astype(np.float32)


def paint(frame: np.ndarray, shape: Shape, pace: Pace, motion: str, time: int) -> None:
    """Paint a shape at a time.

    A shape that leaves the picture enters on the opposite side, and one that has reached the
    largest size fades out and starts again at the smallest, so the distribution of places and
    sizes is the same at every time and for every motion.
    """
    low, high = np.log(RADIUS)
    size = (shape.size + pace.log_growth(motion, time) / (high - low)) % 1
    radius = np.exp(low + size * (high - low))
    opacity = min(1.0, size / FADE, (1 - size) / FADE)
    place = (shape.place + pace.shift(motion, time)) % SIDE
    for x in (place[0] - SIDE, place[0], place[0] + SIDE):
        for y in (place[1] - SIDE, place[1], place[1] + SIDE):
            paint_sprite(frame, shape.sprite, x, y, radius, opacity)


def paint_sprite(
    frame: np.ndarray, sprite: np.ndarray, x: float, y: float, radius: float, opacity: float
) -> None:
    """Paint a sprite centred at (x, y), as far as it is inside the frame."""
    left, top = (max(int(value - radius), 0) for value in (x, y))
    right, bottom = (min(int(value + radius) + 2, SIDE) for value in (x, y))
    if left >= right or top >= bottom:
        return
    scale = 2 * radius / sprite.shape[0]
    matrix = np.array([[scale, 0, x - radius - left], [0, scale, y - radius - top]])
    layer = cv2.warpAffine(sprite, matrix, (right - left, bottom - top))
    part = frame[top:bottom, left:right]
    part += (layer[..., :3] - part) * layer[..., 3:] * opacity


def render(motion: str, seed: int) -> np.ndarray:
    """The frames of a video.

    Args:
        motion: One of ``MOTIONS``.
        seed: Decides form, place, size and pace. All videos of a seed have the same middle frame.

    Returns:
        (T, H, W, 3), uint8, RGB.
    """
    random = np.random.default_rng(seed)
    shape = Shape(
        sprite=make_sprite(random), place=random.uniform(0, SIDE, 2), size=random.uniform()
    )
    pace = Pace(
        speed=random.uniform(*SPEED),
        growth=random.uniform(*GROWTH),
        orbit=random.uniform(*ORBIT),
        angle=random.uniform(0, 2 * np.pi),
    )
    frames = []
    for index in range(NUM_FRAMES):
        frame = np.full((SIDE, SIDE, 3), BACKGROUND, np.float32)
        paint(frame, shape, pace, motion, index - NUM_FRAMES // 2)
        frames.append(frame.astype(np.uint8))
    return np.stack(frames)


def write_video(path: Path, frames: np.ndarray) -> None:
    """Write frames (T, H, W, 3), uint8 RGB, as H.264; the file appears when it is complete."""
    part = path.with_suffix('.part')
    with av.open(str(part), 'w', format='mp4') as file:
        stream = file.add_stream('libx264', rate=FPS)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = 'yuv420p'
        stream.options = dict(crf='16', preset='superfast', g='10')
        stream.codec_context.thread_count = 1
        for frame in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format='rgb24')))
        file.mux(stream.encode())
    part.replace(path)


def make_video(path: Path, motion: str, seed: int) -> None:
    """Render and write a video unless it exists."""
    if not path.exists():
        write_video(path, render(motion, seed))


def make_labelled(folder: Path, name: str, count: int, first_seed: int, list_file: str) -> None:
    """Write videos of all motions in turn into FOLDER/NAME, then the list with their labels."""
    (folder / name).mkdir(parents=True, exist_ok=True)
    jobs, lines = [], []
    for index in range(count):
        label = index % len(MOTIONS)
        path = f'{name}/{index:05}.mp4'
        jobs.append(partial(make_video, folder / path, MOTIONS[label], first_seed + index))
        lines.append(f'{path} {label}\n')
    run_parallel(jobs, f'{name}: {count} videos')
    (folder / list_file).write_text(''.join(lines))


def make_excerpts(source: Path, folder: Path, limit: int) -> list[str]:
    """Write small excerpts of at most ``limit`` videos below ``source``.

    Returns:
        The reason for each video that could not be read.
    """
    from amd_mm.datasets import find_videos

    names = find_videos(str(source))
    chosen = [names[int(place)] for place in np.linspace(0, len(names) - 1, min(len(names), limit))]
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [
        partial(make_excerpt, source / name, folder / f'{index:05}.mp4')
        for index, name in enumerate(chosen)
    ]
    title = f'excerpts of {len(chosen)} of {len(names)} videos in {source}'
    return [problem for problem in run_parallel(jobs, title) if problem]


def make_excerpt(source: Path, path: Path) -> str | None:
    """Write the middle of a video with a short side of 64 pixels; returns an error message."""
    from amd_mm.datasets import UnreadableVideoError, open_video

    if path.exists():
        return None
    try:
        with open_video(str(source)) as reader:
            start = max(0, (len(reader) - EXCERPT) // 2)
            frames = reader.read(range(start, min(start + EXCERPT, len(reader))))
    except UnreadableVideoError as error:
        return str(error)
    height, width = frames[0].shape[:2]
    scale = SIDE / min(height, width)
    # H.264 needs even sides.
    size = [max(SIDE, round(side * scale / 2) * 2) for side in (width, height)]
    frames = [cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames]
    write_video(path, np.stack(frames))
    return None


def run_parallel(jobs: Sequence[Callable], title: str) -> list:
    """Run jobs on all cores and print the progress; their results in order."""
    results = []
    workers = ProcessPoolExecutor(os.cpu_count(), initializer=partial(cv2.setNumThreads, 1))
    with workers as pool:
        for result in pool.map(run_job, jobs, chunksize=8):
            results.append(result)
            if len(results) % max(1, len(jobs) // 10) == 0:
                print(f'{title}: {100 * len(results) // len(jobs)} %', flush=True)
    return results


def run_job(job: Callable) -> object:
    """Call a job, in a process of the pool."""
    return job()


def main(arguments: Iterable[str] | None = None) -> None:
    """Read the command line and make the videos."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('out', type=Path, help='folder for the videos')
    parser.add_argument('--train', type=int, default=1024, help='training videos')
    parser.add_argument('--heldout', type=int, default=768, help='held-out videos')
    parser.add_argument('--first-seed', type=int, default=0, help='of the videos, see render()')
    parser.add_argument('--videos', type=Path, help='a folder of your own videos')
    parser.add_argument('--max-videos', type=int, default=256, help='maximum of your own videos')
    args = parser.parse_args(arguments)
    if args.videos is not None:
        try:
            problems = make_excerpts(args.videos, args.out / 'unlabelled/yours', args.max_videos)
        except FileNotFoundError as error:
            sys.exit(f'--videos: {error}')
        for problem in problems:
            print(f'left out: {problem}')
    first = args.first_seed
    make_labelled(args.out, 'unlabelled/motions', args.train, first, 'train.txt')
    make_labelled(args.out, 'heldout', args.heldout, first + 10**6, 'heldout.txt')  # the last file


if __name__ == '__main__':
    main()
