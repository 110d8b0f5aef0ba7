"""Reading videos for days keeps neither memory nor files."""

import gc
import os
import sys
import tracemalloc

import numpy as np
import pytest
from amd_mm.datasets import available_backends
from amd_mm.registry import DATASETS, TRANSFORMS

SIZE, FRAMES = (96, 72), 8
CLIP = SIZE[0] * SIZE[1] * 3 * FRAMES
READING = [
    dict(type='mmaction.SampleFrames', clip_len=FRAMES, frame_interval=1, num_clips=1),
    dict(type='amd_mm.VideoDecode'),
]
PACKING = [
    dict(type='mmaction.FormatShape', input_format='NCTHW'),
    dict(type='mmaction.PackActionInputs'),
]


class KeepsFrames:
    """A transform that loses memory: half of every clip."""

    kept: list = []

    def __call__(self, results):
        self.kept.append(np.array(results['imgs'][: FRAMES // 2]))
        return results


def growth(folder, backend, *more):
    """(bytes, open files) that 60 clips leave."""
    pipeline = [dict(type='amd_mm.VideoInit', backend=backend), *READING, *more, *PACKING]
    dataset = DATASETS.build(
        dict(type='amd_mm.VideoFolderDataset', data_root=str(folder), pipeline=pipeline)
    )

    def read(passes):
        for _ in range(passes):
            for index in range(len(dataset)):
                dataset[index]
        gc.collect()
        return tracemalloc.get_traced_memory()[0], len(os.listdir('/proc/self/fd'))

    tracemalloc.start()
    before, after = read(3), read(12)
    tracemalloc.stop()
    return after[0] - before[0], after[1] - before[1]


@pytest.fixture(scope='module')
def videos(tmp_path_factory, make_video):
    """Five files, of which two cannot be read: one looks like a video for longer."""
    folder = tmp_path_factory.mktemp('leaks')
    for index in range(3):
        make_video(folder / f'{index}.mp4', 16, SIZE, seed=index)
    (folder / 'bad.mp4').write_bytes(b'no video' * 100)
    whole = (folder / '0.mp4').read_bytes()
    (folder / 'cut.mp4').write_bytes(whole[: len(whole) // 2])
    return folder


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='reads /proc')
@pytest.mark.parametrize('backend', sorted(available_backends()))
def test_reading_keeps_memory_and_files(videos, backend, monkeypatch):
    memory, files = growth(videos, backend)
    assert memory < CLIP and files <= 0
    monkeypatch.setitem(TRANSFORMS.module_dict, 'KeepsFrames', KeepsFrames)
    memory, _ = growth(videos, backend, dict(type='amd_mm.KeepsFrames'))
    KeepsFrames.kept.clear()
    assert memory > 20 * CLIP
