"""A toy model and a runner around it, for tests of hooks."""

import itertools
from typing import Any

import torch
from mmengine.dataset import DefaultSampler
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from torch import nn
from torch.utils.data import Dataset

_COUNTER = itertools.count()


class ToyData(Dataset):
    """Numbers with names; the numbers listed as bad are NaN.

    Args:
        length (int): How many.
        bad (tuple[int, ...]): Which are NaN.
    """

    def __init__(self, length: int = 8, bad: tuple = ()) -> None:
        self.length, self.bad = length, bad

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict:
        value = float('nan') if index in self.bad else index / 10
        return dict(
            inputs=torch.full((3,), value),
            data_samples=BaseDataElement(metainfo=dict(filename=f'video {index}.mp4')),
        )


class ToyModel(BaseModel):
    """A linear layer with several values to log."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(3, 2)

    def forward(self, inputs: list, data_samples: list | None = None, mode: str = 'loss') -> dict:
        out = self.layer(torch.stack(list(inputs)))
        if mode == 'predict':
            return list(data_samples)
        return dict(
            loss_a=out.square().mean(),
            loss_b=out.abs().mean(),
            extra=out.detach().max(),
            count=torch.tensor(float(len(inputs))),
        )


def toy_runner(work_dir: Any, **changes: Any) -> Runner:
    """A runner over :class:`ToyData`: 2 epochs of 4 batches of 2.

    Args:
        work_dir (str | Path): Its folder.
        **changes: Arguments of the runner instead of the ones here.
    """
    arguments = dict(
        model=ToyModel(),
        work_dir=str(work_dir),
        train_dataloader=dict(
            dataset=ToyData(),
            sampler=dict(type=DefaultSampler, shuffle=False),
            collate_fn=dict(type='pseudo_collate'),
            batch_size=2,
        ),
        train_cfg=dict(by_epoch=True, max_epochs=2),
        optim_wrapper=dict(
            type='amd_mm.GuardedOptimWrapper',
            precision='fp32',
            optimizer=dict(type='AdamW', lr=0.1),
            clip_grad=dict(max_norm=1.0),
        ),
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=3),
            checkpoint=dict(type='amd_mm.AtomicCheckpointHook'),
        ),
        custom_hooks=[dict(type='amd_mm.FiniteLossHook')],
        randomness=dict(seed=0),
        visualizer=dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')]),
        log_level='WARNING',
        default_scope='mmengine',
        experiment_name=f'toy{next(_COUNTER)}',
    )
    arguments.update(changes)
    return Runner(**arguments)
