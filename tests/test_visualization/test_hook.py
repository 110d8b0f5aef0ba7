"""Drawing during training shows the progress and changes nothing."""

import itertools
import random
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from amd_mm.engine.hooks import ReconstructionVisualizationHook
from amd_mm.registry import MODELS
from mmengine.config import Config
from mmengine.dataset import default_collate
from mmengine.hooks import Hook
from mmengine.model import MMDistributedDataParallel
from mmengine.runner import Runner
from mmpretrain.structures import DataSample
from torch import distributed

from ..tiny import amd, backbone, videomae
from ..tiny_image import dmae
from ..tiny_tinymim import tinymim

_COUNTER = itertools.count()


class Losses(Hook):
    """Keeps the losses, and what the generators would give next."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.states: list[Any] = []

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        self.losses.append(outputs['loss'].item())
        assert runner.model.training

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        self.states.append(
            (
                torch.get_rng_state().sum().item(),
                np.random.get_state()[1].sum(),
                hash(random.getstate()),
            )
        )


def pipeline() -> list:
    return [
        dict(type='amd_mm.VideoInit'),
        dict(type='mmaction.SampleFrames', clip_len=8, frame_interval=1, num_clips=1),
        dict(type='amd_mm.VideoDecode'),
        dict(type='mmaction.RandomResizedCrop'),
        dict(type='mmaction.Resize', scale=(64, 64), keep_ratio=False),
        dict(type='mmaction.FormatShape', input_format='NCTHW'),
        dict(type='mmaction.PackActionInputs'),
    ]


def run(work_dir: Path, data: Path, model: dict, hook: dict | None = None) -> Losses:
    """Train two epochs of two steps, without seeds for every step."""
    kept = Losses()
    torch.manual_seed(0)
    runner = Runner(
        model=model,
        work_dir=str(work_dir),
        custom_hooks=[kept, *([hook] if hook else [])],
        train_dataloader=dict(
            batch_size=3,
            num_workers=0,
            sampler=dict(type='mmengine.DefaultSampler', shuffle=True),
            collate_fn=dict(type='amd_mm.flatten_views_collate'),
            dataset=dict(
                type='amd_mm.VideoFolderDataset', data_root=str(data), pipeline=pipeline()
            ),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=2),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3)),
        visualizer=dict(
            type='mmengine.Visualizer', vis_backends=[dict(type='mmengine.LocalVisBackend')]
        ),
        default_scope='mmaction',
        randomness=dict(seed=0),
        log_level='WARNING',
        experiment_name=f'visualization{next(_COUNTER)}',
    )
    runner.train()
    return kept


def pictures(work_dir: Path) -> dict:
    return {
        path.name: cv2.imread(str(path)) for path in work_dir.glob('*/vis_data/vis_image/*.png')
    }


def hook_cfg(**arguments: Any) -> dict:
    return dict(type='amd_mm.ReconstructionVisualizationHook', num_frames=2, **arguments)


def test_a_run_learns_the_same_with_it(tmp_path: Path, tiny_video_folder: Path) -> None:
    # Drop path and dropout draw from torch in every step, the crops from
    # Python and NumPy: a draw too many would be seen.
    student = backbone(depth=2, drop_path_rate=0.5, drop_rate=0.1)
    model = amd(backbone=student, layer_pairs=[(1, 3), (2, 6)])
    without = run(tmp_path / 'a', tiny_video_folder, model)
    drawn = run(
        tmp_path / 'b', tiny_video_folder, model, hook_cfg(interval=1, by_epoch=False, num_clips=1)
    )
    assert len(set(without.losses)) == 4
    assert drawn.losses == without.losses
    assert drawn.states == without.states
    assert not pictures(tmp_path / 'a')
    found = pictures(tmp_path / 'b')
    assert sorted(found) == [f'reconstruction_{step}.png' for step in range(1, 5)]
    one, other = (found[f'reconstruction_{step}.png'] for step in (1, 4))
    # The same clip and masks, completed otherwise: only the last row differs.
    rows = np.flatnonzero((one != other).any((1, 2)))
    rows = rows[rows > 0.15 * len(one)]  # the title has the step
    assert len(rows) and rows.min() > 0.6 * len(one)


def made_hook(**arguments: Any) -> ReconstructionVisualizationHook:
    return ReconstructionVisualizationHook(num_frames=2, **arguments)


def toy_runner(model: torch.nn.Module, samples: Any = ()) -> SimpleNamespace:
    kept: list = []
    return SimpleNamespace(
        model=model,
        iter=4,
        cfg=Config(),
        train_dataloader=SimpleNamespace(dataset=samples, collate_fn=default_collate),
        visualizer=SimpleNamespace(add_image=lambda *given: kept.append(given), kept=kept),
    )


@pytest.fixture
def process_group(tmp_path: Path) -> Iterator[None]:
    distributed.init_process_group(
        'gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1
    )
    yield
    distributed.destroy_process_group()


def test_under_ddp_and_on_one_process_only(
    process_group: None, tiny_videos: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = MMDistributedDataParallel(MODELS.build(videomae()))
    model.module.backbone.blocks[1].eval()  # a frozen part stays as it is
    runner = toy_runner(model)
    hook = made_hook(files=tiny_videos[:1], by_epoch=False, interval=5)
    hook.before_train(runner)
    hook.after_train_iter(runner, 0)
    ((name, image, step),) = runner.visualizer.kept
    assert (name, step) == ('reconstruction', 5)
    assert image.dtype == np.uint8 and image.ndim == 3
    modes = [block.training for block in model.module.backbone.blocks]
    assert modes == [True, False, True, True]
    monkeypatch.setattr('mmengine.dist.utils.is_main_process', lambda: False)
    other = made_hook(files=tiny_videos[:1], by_epoch=False)
    other.before_train(runner)
    other.after_train_iter(runner, 0)
    assert len(runner.visualizer.kept) == 1


@pytest.mark.parametrize('views', [1, 2])
def test_of_images(views: int) -> None:
    """One view of an image, or several, as MMPretrain packs them."""
    image = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)
    sample = dict(inputs=[image] * views if views > 1 else image, data_samples=DataSample())
    runner = toy_runner(MODELS.build(dmae()), [sample, sample])
    hook = made_hook(num_clips=5)
    hook.before_train(runner)
    hook.after_train_epoch(SimpleNamespace(**vars(runner), epoch=0))
    ((_, picture, step),) = runner.visualizer.kept
    assert step == 4 and picture.min() == 0
    assert hook.inputs.shape == (2, 3, 64, 64)


@pytest.mark.parametrize(
    'model, files, said',
    [
        (videomae(), ['no.mp4'], 'no.mp4'),
        (tinymim(), None, 'TinyMIM without decoder'),
        (amd(rec_weight=0), None, 'AMD without decoder'),
    ],
)
def test_errors_before_training(model: dict, files: list | None, said: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        made_hook(files=files).before_train(toy_runner(MODELS.build(model)))
