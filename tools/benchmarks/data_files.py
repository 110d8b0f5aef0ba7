"""Videos that the data pipeline's benchmark reads: made here, or given."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import amd_mm  # noqa: F401, its import-time fixes serve what follows
import cv2
import numpy as np
from amd_mm.datasets import find_videos
from common import note


@dataclass(frozen=True)
class Files:
    """Videos of one kind.

    Attributes:
        name (str): What is special about them.
        paths (List[str]): The videos.
    """

    name: str
    paths: list[str]


def write_video(
    path: Path, size: Sequence[int], frames: int, keyframes: int, seed: int, tune: str
) -> None:
    """Write an H.264 file: shapes over a moving, slightly noisy texture.

    Args:
        path (Path): The file; its folder is there.
        size (Sequence[int]): Width and height.
        frames (int): How many.
        keyframes (int): Frames from one keyframe to the next, at most.
        seed (int): Decides texture, shapes and motion.
        tune (str): x264's, ``fastdecode`` for instance; empty for none.
    """
    import av

    width, height = size
    random = np.random.default_rng(seed)
    texture = cv2.resize(
        random.integers(0, 256, (24, 32, 3), np.uint8),
        (2 * width, 2 * height),
        interpolation=cv2.INTER_CUBIC,
    )
    side = height // 4
    room = np.array([width - side, height - side])
    shapes = [
        cv2.resize(
            random.integers(0, 256, (5, 5, 3), np.uint8),
            (side, side),
            interpolation=cv2.INTER_CUBIC,
        )
        for _ in range(6)
    ]
    places = random.uniform(0, 1, (6, 2)) * room
    speeds = random.uniform(-0.015, 0.015, (6, 2)) * height
    options = dict(crf='23', g=str(keyframes))
    if tune:
        options['tune'] = tune
    with av.open(str(path), 'w') as file:
        stream = file.add_stream('libx264', rate=30, options=options)
        stream.width, stream.height, stream.pix_fmt = *size, 'yuv420p'
        stream.codec_context.thread_count = 1
        for number in range(frames):
            x = int((math.sin(number / 40 + seed) + 1) / 2 * width)
            y = int((math.cos(number / 55) + 1) / 2 * height)
            frame = texture[y : y + height, x : x + width].astype(np.int16)
            # Reflected at the borders.
            spots = np.abs((places + number * speeds) % (2 * room) - room)
            for shape, (left, top) in zip(shapes, spots.astype(int)):
                frame[top : top + side, left : left + side] = shape
            frame += random.integers(-3, 4, (height, width, 1), np.int16)
            picture = np.clip(frame, 0, 255).astype(np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format='rgb24')))
        file.mux(stream.encode())


def make_files(
    folder: Path, size: Sequence[int], frames: int, keyframes: int, count: int, tune: str = ''
) -> Files:
    """Write ``count`` videos of a kind."""
    name = f'{size[0]}x{size[1]}, keyframe every {keyframes}'
    name += f', {tune}' if tune else ''
    note(f'writing {count} videos: {name}')
    paths = []
    for seed in range(count):
        paths.append(folder / f'{name} {seed}.mp4')
        write_video(paths[-1], size, frames, keyframes, seed, tune)
    return Files(name, [str(path) for path in paths])


def own_files(given: Sequence[str]) -> Files:
    """The user's videos: files, and all that are in folders."""
    paths = []
    for name in given:
        if os.path.isdir(name):
            paths += [os.path.join(name, found) for found in find_videos(name)]
        elif os.path.isfile(name):
            paths.append(name)
        else:
            raise FileNotFoundError(f'--videos {name} is not there')
    return Files(f'{len(paths)} own videos', paths)
