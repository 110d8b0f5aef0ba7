"""Fixtures for all tests: isolation between tests, small made videos, real videos."""

import gc
import logging
import os
import signal
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

# Before torch and OpenCV start their thread pools.
os.environ.setdefault('OMP_NUM_THREADS', '1')

import cv2
import mmengine.config.config
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.utils import dl_utils
from mmengine.visualization import Visualizer

# Before mmengine.runner is imported: each run would ask for compilers, which takes a second.
dl_utils.collect_env = dict
torch.set_num_threads(1)
cv2.setNumThreads(1)
# A run lays its config out several times, which takes longer than the steps of a tiny model.
mmengine.config.config.FormatCode = lambda text, **_: (text, True)

# No test may fail because a machine is slow.
settings.register_profile('slow', deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile('slow')

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.append(str(REPOSITORY / 'tools'))  # where tools find _venv
VIDEO_ENDINGS = ('.avi', '.mkv', '.mov', '.mp4', '.webm')


def pytest_collection_finish() -> None:
    """Exempt what is imported from garbage collection, which every dataset of MMEngine starts."""
    gc.freeze()


@contextmanager
def process_of_its_own() -> Iterator[None]:
    """Undo the changes that a run makes to the process.

    MMEngine keeps the last runner's default scope, iteration, logger and visualizer in the process,
    a launcher its environment variables; a run that fails leaves its handlers of signals, and a
    tool may silence logging.
    """
    environment = dict(os.environ)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    silenced = logging.root.manager.disable
    with pytest.MonkeyPatch.context() as patch:
        for kind in (DefaultScope, MessageHub, MMLogger, Visualizer):
            patch.setattr(kind, '_instance_dict', OrderedDict())
        yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
    logging.disable(silenced)
    os.environ.clear()
    os.environ.update(environment)


@pytest.fixture(autouse=True)
def isolated() -> Iterator[None]:
    """Run each test as :func:`process_of_its_own`."""
    with process_of_its_own():
        yield


@pytest.fixture(autouse=True, scope='module')
def frozen() -> Iterator[None]:
    """Spare datasets, which collect garbage when they are built, a walk over all packages."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef) -> object:
    """Also run the fixtures that several tests share as :func:`process_of_its_own`."""
    if fixturedef.scope == 'function':
        return (yield)
    with process_of_its_own():
        return (yield)


@pytest.fixture
def name_not_utf8(tmp_path: Path) -> str:
    """A file name whose bytes are not UTF-8; skips where file systems refuse it."""
    name = os.fsdecode(b'caf\xe9.mp4')
    try:
        (tmp_path / name).touch()
    except OSError:
        pytest.skip('this file system has UTF-8 names only')
    (tmp_path / name).unlink()
    return name


def real_data_folder() -> Path:
    """The folder of real test inputs, ``$AMD_MM_TEST_DATA`` or ``../shared/data``; or skip."""
    named = os.environ.get('AMD_MM_TEST_DATA')
    folder = Path(named) if named else REPOSITORY.parent / 'shared' / 'data'
    if not folder.is_dir():
        pytest.skip(
            f'no real test data in {folder}; set AMD_MM_TEST_DATA to a folder with `videos`'
        )
    return folder


@pytest.fixture(scope='session')
def real_videos() -> list[str]:
    """Sorted paths of real videos; skips if there are none."""
    folder = real_data_folder() / 'videos'
    paths = sorted(str(path) for path in folder.rglob('*') if path.suffix.lower() in VIDEO_ENDINGS)
    if not paths:
        pytest.skip(f'no real videos in {folder}')
    return paths


def write_video(
    path: str | Path,
    frames: int = 24,
    size: tuple[int, int] = (64, 48),
    fps: float = 25.0,
    seed: int = 0,
) -> str:
    """Write a small video file: a smooth texture that moves.

    Neighbouring frames differ clearly, also after decoding.

    Args:
        path: A file that ends with ``.mp4`` or ``.avi``; folders are made.
        frames: Number of frames.
        size: (width, height).
        fps: Frames per second.
        seed: Decides texture and direction.

    Returns:
        The path.
    """
    path = str(path)
    os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
    width, height = size
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    texture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    step = rng.choice([-3, 3], 2)
    codec = 'XVID' if path.lower().endswith('.avi') else 'mp4v'
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*codec), fps, size)
    assert writer.isOpened(), f'OpenCV cannot write {path}'
    for number in range(frames):
        writer.write(np.roll(texture, tuple(number * step), axis=(0, 1)))
    writer.release()
    return path


@pytest.fixture(scope='session')
def ffmpeg() -> Callable[..., None]:
    """Run imageio-ffmpeg's program with arguments; the machine's own may be too old."""
    program = pytest.importorskip('imageio_ffmpeg').get_ffmpeg_exe()

    def run(*arguments: object) -> None:
        subprocess.run([program, '-nostdin', '-v', 'error', '-y', *map(str, arguments)], check=True)

    run.program = program
    return run


def with_cover(video: str | None, path: str, ffmpeg: str) -> None:
    """Write an mp4 whose first stream is a cover picture; without a video, it has sound only."""
    run = [ffmpeg, '-v', 'error', '-y']
    picture = str(Path(path).with_suffix('.png'))
    cv2.imwrite(picture, np.zeros((32, 32, 3), np.uint8))
    source = ['-i', video] if video else ['-f', 'lavfi', '-i', 'sine=d=0.1']
    maps = ['-map', '0', '-map', '1', '-c:v', 'copy']
    kind = [f'-disposition:v:{1 if video else 0}', 'attached_pic']
    subprocess.run([*run, *source, '-i', picture, *maps, *kind, path], check=True)
    os.remove(picture)
    data = Path(path).read_bytes()
    track, cover = data.index(b'trak') - 4, data.index(b'udta') - 4
    assert track < cover  # the last box of the file
    Path(path).write_bytes(data[:track] + data[cover:] + data[track:cover])


@pytest.fixture(scope='session')
def make_video() -> Callable[..., str]:
    """:func:`write_video`."""
    return write_video


@pytest.fixture(scope='session')
def tiny_video_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of six tiny videos, nested, one name with spaces; tests must not change it."""
    folder = tmp_path_factory.mktemp('tiny_videos')
    names = ('a.mp4', 'b.mp4', 'more/c.mp4', 'more/deep/d clip 1.mp4', 'more/e.avi', 'z/f.MP4')
    for seed, name in enumerate(names):
        write_video(folder / name, frames=20 + 2 * seed, seed=seed)
    return folder


@pytest.fixture(scope='session')
def tiny_videos(tiny_video_folder: Path) -> list[str]:
    """Sorted paths of the videos in ``tiny_video_folder``."""
    paths = tiny_video_folder.rglob('*')
    return sorted(str(path) for path in paths if path.suffix.lower() in VIDEO_ENDINGS)
