"""Checkpoints of training are read safely by PyTorch's own default, and can be resumed."""

import pytest
import torch
from amd_mm.checkpoints import CheckpointError
from mmengine.logging import HistoryBuffer

from ..test_engine.test_atomic_checkpoint import Rising
from ..test_engine.toy import ToyData, toy_runner
from ..test_tools.tool_scripts import run_tool


def runner(folder, epochs, checkpoint='amd_mm.AtomicCheckpointHook', **other):
    """Two epochs with averaged weights, momentum, a schedule, and a best score of NumPy."""
    loader = dict(
        dataset=ToyData(2),
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='pseudo_collate'),
        batch_size=2,
    )
    return toy_runner(
        folder,
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=1),
            checkpoint=dict(type=checkpoint, interval=1, save_best='acc'),
        ),
        custom_hooks=[dict(type='EMAHook'), dict(type='amd_mm.StrictLoadHook')],
        param_scheduler=dict(type='CosineAnnealingLR', T_max=4),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        val_dataloader=loader,
        val_cfg=dict(),
        val_evaluator=[Rising()],
        **other,
    )


def state_of(folder, epoch):
    return torch.load(folder / f'epoch_{epoch}.pth', weights_only=True)


def test_our_checkpoints_hold_nothing_else_and_resume_exactly(tmp_path):
    folders = [tmp_path / name for name in ('whole', 'resumed', 'resumed again')]
    runner(folders[0], 3).train()
    for epoch, before, after in zip((1, 2), folders, folders[1:]):
        resumed = runner(after, 3, load_from=str(before / f'epoch_{epoch}.pth'), resume=True)
        resumed.train()
        assert resumed.iter == 12
        assert isinstance(resumed.message_hub.get_scalar('train/loss'), HistoryBuffer)
        mine, theirs = state_of(after, 3), state_of(folders[0], 3)
        for part in ('state_dict', 'ema_state_dict'):
            assert all(torch.equal(mine[part][name], one) for name, one in theirs[part].items())
        assert mine['optimizer']['param_groups'] == theirs['optimizer']['param_groups']
        assert type(mine['message_hub']['runtime_info']['best_score']) is float


def test_a_stock_checkpoint_is_refused_and_resumes_when_made_plain(tmp_path):
    runner(tmp_path, 1, 'CheckpointHook').train()
    path, plain = tmp_path / 'epoch_1.pth', tmp_path / 'plain.pth'
    with pytest.raises(CheckpointError, match=f'{path} plain.pth --unsafe --keep-state'):
        runner(tmp_path, 2, resume=True).train()
    assert run_tool('convert_checkpoint', path, plain, '--keep-state').returncode == 1
    assert run_tool('convert_checkpoint', path, plain, '--unsafe', '--keep-state').returncode == 0
    resumed = runner(tmp_path, 2, resume=True, load_from=str(plain))
    resumed.train()
    assert resumed.iter == 8 and state_of(tmp_path, 2)['meta']['epoch'] == 2
