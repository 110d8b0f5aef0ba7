"""UnreadableVideosHook counts unreadable files and stops the run."""

import logging
import os
import socket

import pytest
import torch
from amd_mm.engine import UnreadableVideosHook
from amd_mm.errors import VideoError
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement

from .pipelines import video_pipeline

BAD_A, BAD_B = ('a b.mp4', 'empty'), ('b.mp4', 'text')


def batch(*unreadable):
    """A batch of clips with two views, whose videos replaced these files."""
    samples = [
        BaseDataElement(metainfo=dict(view=view, unreadable=list(files)))
        for files in unreadable
        for view in range(2)
    ]
    return dict(inputs=[None] * len(samples), data_samples=samples)


@pytest.fixture
def messages(monkeypatch):
    logger = MMLogger.get_instance('amd_mm_hook_test')
    monkeypatch.setattr(MMLogger, 'get_current_instance', lambda: logger)
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append((record.levelname, record.getMessage()))
    logger.addHandler(handler)
    yield lines
    logger.removeHandler(handler)


def test_files_are_counted_and_named_once(messages):
    hook = UnreadableVideosHook(max_share=1.0)
    hook.before_train_epoch(None)
    for _ in range(3):
        hook.before_train_iter(None, 0, batch([BAD_A], [], [BAD_B, BAD_A]))
    assert (hook.fetched, hook.unreadable) == (18, 9)
    assert messages == [
        ('WARNING', 'unreadable file replaced: a b.mp4 (empty)'),
        ('WARNING', 'unreadable file replaced: b.mp4 (text)'),
    ]
    hook.after_train_epoch(None)
    assert '9 of 18 fetched files' in messages[-1][1] and '50.00 %, 2 diff' in messages[-1][1]
    count = len(messages)
    hook.before_train_epoch(None)
    hook.before_train_iter(None, 0, batch([]))
    hook.after_train_epoch(None)
    assert len(messages) == count  # nothing new
    hook.after_train(None)
    assert '9 of 19' in messages[-1][1]


def test_the_run_stops_above_the_share():
    hook = UnreadableVideosHook(max_share=0.2, min_fetches=10)
    for _ in range(4):  # one of two, but too few to judge
        hook.before_train_iter(None, 0, batch([BAD_A]))
    with pytest.raises(VideoError, match='5 of 10 .*50.0 %.*max_share=0.2') as error:
        hook.before_train_iter(None, 0, batch([BAD_B]))
    for part in ('a b.mp4: empty', 'b.mp4: text', 'tools/check_videos.py', '--min-frames'):
        assert part in str(error.value)
    # Exactly the share is tolerated.
    UnreadableVideosHook(max_share=0.5, min_fetches=1).before_train_iter(None, 0, batch([BAD_A]))
    strict = UnreadableVideosHook(max_share=0, min_fetches=1)
    strict.before_train_iter(None, 0, batch([]))
    with pytest.raises(VideoError):
        strict.before_train_iter(None, 0, batch([BAD_A]))


def test_foreign_batches_and_wrong_arguments():
    hook = UnreadableVideosHook(max_share=0, min_fetches=1)
    for data in (None, [torch.zeros(1)], dict(data_samples=[BaseDataElement()])):
        hook.before_train_iter(None, 0, data)
    assert (hook.fetched, hook.unreadable) == (1, 0)
    for wrong in (dict(max_share=-0.1), dict(max_share=5), dict(min_fetches=0)):
        with pytest.raises(ValueError):
            UnreadableVideosHook(**wrong)


def test_names_that_are_not_utf8_can_be_logged(messages):
    hook = UnreadableVideosHook(max_share=0.5, min_fetches=1)
    bad = (os.fsdecode(b'caf\xe9.mp4'), 'empty')
    hook.before_train_iter(None, 0, batch([bad]))
    assert 'caf\ufffd.mp4 (empty)' in messages[0][1]
    with pytest.raises(VideoError, match='caf\ufffd.mp4'):
        hook.before_train_iter(None, 0, batch([bad, bad]))


class Mean(BaseModel):
    """One parameter, so that the runner has something to train."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))

    def forward(self, inputs, data_samples, mode):
        return dict(loss=self.weight * torch.stack(inputs).float().mean())


def test_in_a_run(tmp_path, make_video):
    folder = tmp_path / 'videos'
    for seed in range(6):
        make_video(folder / f'{seed}.mp4', seed=seed)
    bad = ('bad 1.mp4', 'bad 2.mp4')
    for name in bad:
        (folder / name).write_bytes(b'')
    dataset = dict(
        type='amd_mm.VideoFolderDataset', data_root=str(folder), pipeline=video_pipeline(2)
    )
    runner = Runner(
        model=Mean(),
        work_dir=str(tmp_path),
        custom_hooks=[dict(type='amd_mm.UnreadableVideosHook', max_share=0.8, min_fetches=8)],
        train_dataloader=dict(
            batch_size=2,
            num_workers=0,
            sampler=dict(type='amd_mm.EpochSeededSampler'),
            collate_fn=dict(type='amd_mm.flatten_views_collate'),
            dataset=dataset,
        ),
        train_cfg=dict(by_epoch=True, max_epochs=2),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_scope='mmaction',
        randomness=dict(seed=0),
    )
    runner.train()
    hook = next(hook for hook in runner.hooks if isinstance(hook, UnreadableVideosHook))
    assert hook.fetched == 16 + hook.unreadable
    assert hook.unreadable >= 4 and len(hook.reasons) == 2
    text = next(tmp_path.rglob('*.log')).read_text()
    assert all(text.count(f'{name} (the file is empty)') == 1 for name in bad)
    assert f'{hook.unreadable} of {hook.fetched} fetched' in text


def in_two_processes(rank, port, log):
    os.environ.update(
        MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port), RANK=str(rank), WORLD_SIZE='2'
    )
    torch.distributed.init_process_group('gloo')
    # A runner's logger: only the first process has a file.
    MMLogger.get_instance('two', log_file=log)
    hook = UnreadableVideosHook(max_share=1.0)
    # Each meets its own file, then both meet both.
    for unreadable in ([(BAD_A, BAD_B)[rank]], [BAD_A, BAD_B], [BAD_A, BAD_B]):
        hook.before_train_epoch(None)
        hook.before_train_iter(None, 0, batch(unreadable))
        hook.after_train_epoch(None)
    hook.after_train(None)
    torch.distributed.destroy_process_group()


def test_processes_add_up(tmp_path):
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    log = tmp_path / 'run.log'
    context = torch.multiprocessing.get_context('fork')
    processes = [
        context.Process(target=in_two_processes, args=(rank, port, str(log))) for rank in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=600)
    assert [process.exitcode for process in processes] == [0, 0]
    text = log.read_text()
    for path, reason in (BAD_A, BAD_B):
        line = f'unreadable file replaced: {path} ({reason})'
        assert text.count(line) == 1
        assert text.index(line) < text.index('2 of 4 fetched files')
    counts = [line for line in text.splitlines() if 'fetched files' in line]
    assert [line.split(' - ')[-1].split(' fetched')[0] for line in counts] == [
        '2 of 4',
        '6 of 10',
        '10 of 16',
        '10 of 16',
    ]
    assert all('2 different files' in line for line in counts)
