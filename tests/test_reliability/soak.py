"""Memory and open files of a data loader and its processes, over many steps.

As the kernel counts them (``/proc``), so on Linux only. To be run as a
program, ``python -m tests.test_reliability.soak FOLDER``: the processes of a
loader begin with what their parent has, and what they lose would go unnoticed
into what a long-lived parent has freed.
"""

import gc
import json
import multiprocessing
import os
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from amd_mm.datasets import available_backends
from amd_mm.registry import DATASETS, TRANSFORMS
from mmengine.runner import Runner

PAGE = os.sysconf('SC_PAGE_SIZE')
STEPS, WARM_UP = 200, 60
FRAMES = 8


class Soak(NamedTuple):
    """What a process did.

    Attributes:
        growth: Slope of its resident memory after warm-up, bytes a step.
        files: How many files it had open after each pass.
    """

    growth: float
    files: list[int]


def loader_config(folder: Path, backend: str, pipeline_end: list) -> dict:
    """Two lasting processes, two videos a batch."""
    return dict(
        batch_size=2,
        num_workers=2,
        persistent_workers=True,
        drop_last=True,
        sampler=dict(type='amd_mm.EpochSeededSampler'),
        collate_fn=dict(type='amd_mm.stack_views_collate'),
        dataset=dict(
            type='amd_mm.VideoFolderDataset',
            data_root=str(folder),
            pipeline=[
                dict(type='amd_mm.VideoInit', backend=backend),
                dict(type='mmaction.SampleFrames', clip_len=FRAMES, frame_interval=1, num_clips=1),
                dict(type='amd_mm.VideoDecode'),
                *pipeline_end,
                dict(type='mmaction.FormatShape', input_format='NCTHW'),
                dict(type='mmaction.PackActionInputs'),
            ],
        ),
    )


def resident(pid: int) -> int:
    """Bytes in memory, without files and what is shared through them."""
    fields = Path(f'/proc/{pid}/statm').read_text().split()
    return (int(fields[1]) - int(fields[2])) * PAGE


def open_files(pid: int) -> int:
    return len(os.listdir(f'/proc/{pid}/fd'))


def soak(config: dict) -> dict[str, Soak]:
    """Fetch :data:`STEPS` batches; what came of it, by process.

    Args:
        config (dict): Of the loader.

    Returns:
        Dict[str, Soak]: ``parent`` and ``worker N``.

    Raises:
        AssertionError: If a process of the loader died, or is left over.
    """
    DATASETS.import_from_location()
    before = set(multiprocessing.active_children())
    loader = Runner.build_dataloader(config, seed=0)
    memory: dict[str, list[int]] = {}
    files: dict[str, list[int]] = {}
    unreadable, step, pids, epoch = 0, 0, {}, 0
    while step < STEPS:
        loader.sampler.set_epoch(epoch)
        epoch += 1
        for batch in loader:
            if not pids:
                workers = set(multiprocessing.active_children()) - before
                pids = {'parent': os.getpid()}
                for number, one in enumerate(sorted(workers, key=id)):
                    pids[f'worker {number}'] = one.pid
            unreadable += sum(len(one.metainfo['unreadable']) for one in batch['data_samples'])
            del batch
            step += 1
            if step > WARM_UP:
                for name, pid in pids.items():
                    memory.setdefault(name, []).append(resident(pid))
        if step > WARM_UP:
            # Between two epochs no batch is on its way, which has a file.
            for name, pid in pids.items():
                files.setdefault(name, []).append(open_files(pid))
    assert len(pids) == 3
    del loader
    gc.collect()
    for one in set(multiprocessing.active_children()) - before:
        one.join(10)
    left = [pid for name, pid in pids.items() if name != 'parent']
    assert not any(os.path.exists(f'/proc/{pid}') for pid in left)
    # One video of ten is fetched once an epoch, and another in its place.
    assert unreadable > 0.05 * 2 * STEPS
    return {name: Soak(slope(values), files[name]) for name, values in memory.items()}


def slope(values: list[int]) -> float:
    """Bytes a step, by least squares."""
    return float(np.polyfit(np.arange(len(values)), values, 1)[0])


class KeepsFrames:
    """A transform that loses memory: half of every clip."""

    kept: list[np.ndarray] = []

    def __call__(self, results: dict) -> dict:
        half = results['imgs'][: FRAMES // 2]
        self.kept.append(np.array(half))  # a copy
        return results


def main(folder: str) -> None:
    """Print as JSON what came of each backend, and of ``losing`` memory."""
    found = {
        backend: soak(loader_config(Path(folder), backend, []))
        for backend in ('pyav', 'decord')
        if backend in available_backends()
    }
    TRANSFORMS.register_module(module=KeepsFrames)
    losing = [dict(type='amd_mm.KeepsFrames')]
    found['losing'] = soak(loader_config(Path(folder), 'pyav', losing))
    print(json.dumps(found))


if __name__ == '__main__':
    main(sys.argv[1])
