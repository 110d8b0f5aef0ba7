"""What was asked for is compared with what is in force."""

from pathlib import Path

import pytest
from amd_mm.engine.settings import describe_optimizer, schedule_end
from amd_mm.errors import CheckpointError
from mmengine.config import Config
from mmengine.hooks import Hook

from .toy import ToyData, toy_runner

SCHEDULE = [dict(type='LinearLR', start_factor=0.1, end=1), dict(type='CosineAnnealingLR', begin=1)]


def run(folder, epochs=2, lr=0.1, decay=0.05, batch=2, schedule=SCHEDULE, hook=None, **changes):
    runner = toy_runner(
        folder,
        train_dataloader=dict(
            dataset=ToyData(),
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=dict(type='pseudo_collate'),
            batch_size=batch,
        ),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=lr, weight_decay=decay)),
        param_scheduler=schedule,
        custom_hooks=[
            dict(type='amd_mm.RunSummaryHook'),
            dict(type='amd_mm.ResumeEpochHook'),
            *([hook] if hook else []),
        ],
        default_hooks=dict(checkpoint=dict(type='amd_mm.AtomicCheckpointHook', interval=1)),
        log_level='INFO',
        **changes,
    )
    runner.train()
    return runner


def warnings_of(runner):
    text = Path(runner.log_dir, f'{runner.timestamp}.log').read_text()
    return text[text.index('This run:') :]


@pytest.fixture(scope='module')
def former(tmp_path_factory):
    folder = tmp_path_factory.mktemp('former')
    run(folder, 2)
    return str(folder / 'epoch_1.pth')


def test_a_resumed_run_says_nothing_if_nothing_changed(former, tmp_path):
    log = warnings_of(run(tmp_path, resume=True, load_from=former))
    assert 'in force' not in log and 'other clips' not in log and 'ends at' not in log


def test_a_resumed_run_names_the_settings_that_its_checkpoint_replaced(former, tmp_path):
    runner = run(tmp_path, 4, 0.2, 0.1, 4, resume=True, load_from=former)
    log = warnings_of(runner)
    for key, asked, now in (
        ('optim_wrapper.optimizer.lr', 0.2, 0.1),
        ('optim_wrapper.optimizer.weight_decay', 0.1, 0.05),
        ('param_scheduler.1.end', 4, 2),
        ('param_scheduler.1.T_max', 3, 1),
    ):
        assert f'{key}: {asked} was asked for, {now} is in force' in log
    assert 'betas' not in log.partition('in force')[2]
    assert 'per step: 2 = 2 videos x 1 views x 1 processes x 1 accumulated; now 4 = 4' in log
    assert 'ends at epoch 2, and the run at 4' in log
    assert 'learning rate   1.000e-01 at its peak' in log
    assert describe_optimizer(runner) == 'AdamW, weight_decay 0.05, betas (0.9, 0.999)'


def test_a_rate_that_no_parameter_has_is_named(tmp_path):
    """MMEngine scales the rate; a run by train.py is told the scaled one."""
    optimizer = dict(type='AdamW', lr=0.1, weight_decay=0.05, betas=(0.9, 0.999))
    cfg = Config(dict(optim_wrapper=dict(optimizer=optimizer)))
    scale = dict(enable=True, base_batch_size=4)
    log = warnings_of(run(tmp_path, cfg=cfg, auto_scale_lr=scale))
    assert 'optim_wrapper.optimizer.lr: 0.1 was asked for, 0.05 is in force' in log
    assert log.count('in force') == 1


@pytest.mark.parametrize('schedule', [SCHEDULE[1:], SCHEDULE[::-1], None])
def test_the_state_of_one_schedule_is_not_given_to_another(former, tmp_path, schedule):
    with pytest.raises(CheckpointError, match='2 schedulers .* without --resume'):
        run(tmp_path, schedule=schedule, resume=True, load_from=former)


def test_another_seed_would_read_other_data(former, tmp_path):
    with pytest.raises(CheckpointError, match='has the seed 0, this one 1: .* --seed 0'):
        run(tmp_path, resume=True, load_from=former, randomness=dict(seed=1))


@pytest.mark.parametrize(
    'schedule, says',
    [
        ([dict(type='LinearLR', end=3, by_epoch=False), dict(type='StepLR', step_size=1)], None),
        ([dict(type='ConstantLR', end=9, by_epoch=False)], 'at iteration 9, and the run at 4'),
        ([dict(type='ConstantLR', end=2, convert_to_iter_based=True)], 'at iteration 8, and the'),
    ],
)
def test_a_schedule_that_does_not_end_with_the_run(tmp_path, schedule, says):
    said = schedule_end(run(tmp_path, 1, schedule=schedule))
    assert said is None if says is None else says in said


class Rates(Hook):
    """The learning rate of each (epoch, iteration)."""

    def __init__(self):
        self.seen = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.seen.append((runner.epoch, runner.iter, runner.optim_wrapper.get_lr()['lr'][0]))


@pytest.mark.parametrize('before, now', [(2, 1), (1, 2), (1, 4)])
def test_the_schedule_follows_another_number_of_batches(tmp_path, before, now):
    """As if the run had had the batches of now from its start."""
    parts = [dict(one, convert_to_iter_based=True) for one in SCHEDULE]
    whole, rest = Rates(), Rates()
    run(tmp_path / 'whole', 4, batch=now, schedule=parts, hook=whole)
    run(tmp_path, 4, batch=before, schedule=parts)
    former = str(tmp_path / 'epoch_2.pth')
    log = run(
        tmp_path / 'b', 4, batch=now, schedule=parts, hook=rest, resume=True, load_from=former
    )
    assert [one[:2] for one in rest.seen] == [one[:2] for one in whole.seen if one[0] >= 2]
    rates, expected = (
        [one[2] for one in seen] for seen in (rest.seen, whole.seen[-len(rest.seen) :])
    )
    assert rates == pytest.approx(expected, rel=0.1, abs=1e-4)
    text = Path(log.log_dir, f'{log.timestamp}.log').read_text()
    assert f'had {8 // before} batches and has {8 // now} now: epochs 3 to 4 follow' in text
    assert 'in force' not in text and 'ends at' not in text
