"""The hook that counts and stops."""

import logging

import pytest
import torch
from amd_mm.engine.hooks.unreadable_videos import UnreadableVideosHook
from amd_mm.errors import VideoError
from amd_mm.registry import HOOKS
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement

from .pipelines import video_pipeline


def batch(*unreadable, views=2):
    """A batch of clips whose videos met these unreadable ones before."""
    samples = [
        BaseDataElement(metainfo=dict(view=view, unreadable=met))
        for met in unreadable
        for view in range(views)
    ]
    return dict(inputs=[None] * len(samples), data_samples=samples)


@pytest.fixture
def messages(monkeypatch):
    logger = MMLogger.get_instance('amd_mm_hook_test')
    monkeypatch.setattr(MMLogger, 'get_current_instance', lambda: logger)
    lines = []

    class Keep(logging.Handler):
        def emit(self, record):
            lines.append((record.levelname, record.getMessage()))

    handler = Keep()
    logger.addHandler(handler)
    yield lines
    logger.removeHandler(handler)


def test_videos_are_counted_once_and_named_once(messages):
    hook = UnreadableVideosHook(max_share=1.0)
    for _ in range(3):
        hook.before_train_iter(
            None, 0, batch([('a.mp4', 'empty')], [], [('b.mp4', 'text'), ('a.mp4', 'empty')])
        )
    assert (hook.fetched, hook.unreadable) == (18, 9)
    assert messages == [
        ('WARNING', 'unreadable file replaced: a.mp4 (empty)'),
        ('WARNING', 'unreadable file replaced: b.mp4 (text)'),
    ]
    hook.after_train(None)
    assert messages[-1][0] == 'INFO'
    assert '9 of 18 fetched files' in messages[-1][1]
    assert '50.00 %, 2 different' in messages[-1][1]


def test_the_run_stops_above_the_share(messages):
    hook = UnreadableVideosHook(max_share=0.2, min_fetches=10)
    for _ in range(4):  # one of two, but too few to judge
        hook.before_train_iter(None, 0, batch([('a b.mp4', 'empty')]))
    with pytest.raises(VideoError) as error:
        hook.before_train_iter(None, 0, batch([('c.mp4', 'text')]))
    for part in (
        '5 of 10',
        '50.0 %',
        'max_share=0.2',
        'a b.mp4: empty',
        'c.mp4: text',
        'tools/check_videos.py',
        '--min-frames',
    ):
        assert part in str(error.value)


def test_exactly_the_share_is_tolerated(messages):
    hook = UnreadableVideosHook(max_share=0.5, min_fetches=1)
    hook.before_train_iter(None, 0, batch([('a.mp4', 'empty')]))
    strict = UnreadableVideosHook(max_share=0, min_fetches=1)
    strict.before_train_iter(None, 0, batch([]))
    with pytest.raises(VideoError):
        strict.before_train_iter(None, 0, batch([('a.mp4', 'empty')]))


def test_epochs_without_news_are_silent(messages):
    hook = UnreadableVideosHook(max_share=1.0)
    hook.before_train_epoch(None)
    hook.before_train_iter(None, 0, batch([('a.mp4', 'empty')]))
    hook.after_train_epoch(None)
    assert len(messages) == 2
    hook.before_train_epoch(None)
    hook.before_train_iter(None, 0, batch([]))
    hook.after_train_epoch(None)
    assert len(messages) == 2


def test_foreign_batches_pass():
    hook = UnreadableVideosHook(max_share=0, min_fetches=1)
    hook.before_train_iter(None, 0, None)
    hook.before_train_iter(None, 0, [torch.zeros(1)])
    plain = dict(data_samples=[BaseDataElement()])
    hook.before_train_iter(None, 0, plain)
    assert (hook.fetched, hook.unreadable) == (1, 0)


@pytest.mark.parametrize('wrong', [dict(max_share=-0.1), dict(max_share=5), dict(min_fetches=0)])
def test_wrong_arguments(wrong):
    with pytest.raises(ValueError):
        UnreadableVideosHook(**wrong)


class Mean(BaseModel):
    """One parameter, so that the runner has something to train."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))

    def forward(self, inputs, data_samples, mode):
        return dict(loss=self.weight * torch.stack(inputs).float().mean())


def train(folder, work_dir, max_share):
    hook = dict(type='amd_mm.UnreadableVideosHook', max_share=max_share, min_fetches=8)
    runner = Runner(
        model=Mean(),
        work_dir=str(work_dir),
        custom_hooks=[hook],
        train_dataloader=dict(
            batch_size=2,
            num_workers=2,
            sampler=dict(type='amd_mm.EpochSeededSampler'),
            collate_fn=dict(type='amd_mm.flatten_views_collate'),
            dataset=dict(
                type='amd_mm.VideoFolderDataset', data_root=str(folder), pipeline=video_pipeline(2)
            ),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=2),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_scope='mmaction',
        randomness=dict(seed=0),
        experiment_name=f'unreadable_{work_dir.name}',
    )
    runner.train()
    return next(h for h in runner.hooks if isinstance(h, UnreadableVideosHook))


def test_in_a_run(tmp_path, make_video):
    folder = tmp_path / 'videos'
    for seed in range(6):
        make_video(folder / f'{seed}.mp4', seed=seed)
    for name in ('bad 1.mp4', 'bad 2.mp4'):
        (folder / name).write_bytes(b'')
    hook = train(folder, tmp_path / 'tolerant', max_share=0.8)
    assert hook.fetched == 16 + hook.unreadable
    assert hook.unreadable >= 4 and len(hook.reasons) == 2
    logs = list((tmp_path / 'tolerant').rglob('*.log'))
    text = logs[0].read_text()
    for name in ('bad 1.mp4', 'bad 2.mp4'):
        assert text.count(f'{name} (the file is empty)') == 1
    assert f'{hook.unreadable} of {hook.fetched} fetched' in text
    with pytest.raises(VideoError, match='more than max_share=0.05'):
        train(folder, tmp_path / 'strict', max_share=0.05)


def test_the_hook_is_found_by_its_name():
    assert HOOKS.get('amd_mm.UnreadableVideosHook') is UnreadableVideosHook


BOTH = [('first.mp4', 'empty'), ('second.mp4', 'text')]


def in_two_processes(rank, port, log):
    """One of two processes that met different videos."""
    import os

    os.environ.update(
        MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port), RANK=str(rank), WORLD_SIZE='2'
    )
    torch.distributed.init_process_group('gloo')
    # A runner's logger: the first process alone has a file.
    MMLogger.get_instance('two', log_file=log)
    hook = UnreadableVideosHook(max_share=1.0)
    mine = [('first.mp4', 'empty')] if rank == 0 else []
    other = [('second.mp4', 'text')] if rank == 1 else []
    # Each meets its own, then both meet both.
    for met in (mine + other, BOTH, BOTH):
        hook.before_train_epoch(None)
        hook.before_train_iter(None, 0, batch(met))
        hook.after_train_epoch(None)
    hook.after_train(None)
    torch.distributed.destroy_process_group()


def test_processes_add_up_and_all_names_are_logged(tmp_path):
    import socket

    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    log = tmp_path / 'run.log'
    context = torch.multiprocessing.get_context('fork')
    crew = [
        context.Process(target=in_two_processes, args=(rank, port, str(log))) for rank in range(2)
    ]
    for process in crew:
        process.start()
    for process in crew:
        process.join(timeout=60)
    assert [process.exitcode for process in crew] == [0, 0]
    text = log.read_text()
    # Each name once, and not only when the first process meets it too.
    for path, reason in BOTH:
        said = f'unreadable file replaced: {path} ({reason})'
        assert text.count(said) == 1
        assert text.index(said) < text.index('2 of 4 fetched files')
    # Counts of both, epoch by epoch and at the end.
    counts = [line for line in text.splitlines() if 'fetched files' in line]
    assert [line.split(' - ')[-1].split(' fetched')[0] for line in counts] == [
        '2 of 4',
        '6 of 10',
        '10 of 16',
        '10 of 16',
    ]
    assert all('2 different files' in line for line in counts)
