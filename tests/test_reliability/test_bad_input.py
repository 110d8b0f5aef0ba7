"""A newcomer's mistakes end in one sentence, without a traceback.

The sentence names the file, the key or the value, and says what to do.
"""

import errno
import os
import re
import socket
import subprocess
import sys

import pytest
import torch
from amd_mm.checkpoints import io as atomic_checkpoint
from amd_mm.engine import launch
from amd_mm.errors import ConfigError

from tests.test_reliability.bad_input_cases import CASES, Case, P
from tests.test_reliability.mistakes import make_project
from tests.test_tools.tool_scripts import TOOLS, load_tool


@pytest.fixture(scope='module')
def project(tmp_path_factory, make_video):
    return make_project(tmp_path_factory.mktemp('project'), make_video)


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """In a folder of its own, and without what a launcher sets."""
    monkeypatch.chdir(tmp_path)
    for name in ('RANK', 'LOCAL_RANK', 'SLURM_PROCID'):
        monkeypatch.delenv(name, raising=False)


def arguments(case: Case, project) -> list[str]:
    def there(text: str) -> str:
        return text.replace(P, str(project))

    path = project / case.config
    known = path.exists() or case.config == 'gone.py'
    argv = [str(path) if known else case.config]
    argv += map(there, case.more)
    if case.options:
        argv += ['--cfg-options', *map(there, case.options)]
    return argv


def end_of(tool: str, argv: list[str], capsys, monkeypatch) -> str:
    """Run a tool that has to end with a sentence; the sentence."""
    monkeypatch.setattr(sys, 'argv', [f'{tool}.py'])
    with pytest.raises(SystemExit) as end:
        load_tool(tool).main(argv)
    written = capsys.readouterr()
    for text in written:
        assert 'Traceback' not in text
    code = end.value.code
    if isinstance(code, int):  # the parser of arguments says it itself
        assert code == 2
        code = written.err.strip().splitlines()[-1]
    assert re.match(rf'{tool}\.py( \(process \d\))?: ', code)
    return code


@pytest.mark.parametrize('case', CASES, ids=[case.name for case in CASES])
def test_mistake_ends_in_a_sentence(case, project, capsys, monkeypatch):
    sentence = end_of(case.tool, arguments(case, project), capsys, monkeypatch)
    for part in case.says:
        assert part.replace(P, str(project)) in sentence
    # A list of names may follow; no part of a program does.
    assert len(sentence.splitlines()) <= 20  # the known formats are 16
    assert not re.search(r'File ".*", line \d+', sentence)


def test_the_project_itself_trains(project, tmp_path):
    load_tool('train').main([str(project / 'pretrain.py'), '--work-dir', str(tmp_path)])
    assert (tmp_path / 'epoch_1.pth').is_file()


def test_real_process_prints_the_sentence(tmp_path):
    """Nothing that a captured run might hide: threads, atexit, C++."""
    done = subprocess.run(
        [sys.executable, TOOLS / 'train.py', tmp_path / 'gone.py'], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert 'Traceback' not in done.stdout + done.stderr
    assert '\ntrain.py: there is no config file' in f'\n{done.stderr}'


@pytest.mark.parametrize(
    'launcher, environment, local',
    [
        ('pytorch', dict(RANK='3', WORLD_SIZE='4', MASTER_ADDR='a', MASTER_PORT='1'), 'LOCAL_RANK'),
        ('slurm', dict(SLURM_PROCID='3', SLURM_NTASKS='4', SLURM_NODELIST='a'), 'SLURM_LOCALID'),
    ],
)
def test_more_processes_than_gpus(monkeypatch, launcher, environment, local):
    monkeypatch.setattr(launch, 'get_device', lambda: 'cuda')
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for rank in ('0', '1'):
        monkeypatch.setenv(local, rank)
        launch.check_launcher(launcher)
    monkeypatch.setenv(local, '3')
    with pytest.raises(ConfigError, match='has no GPU: there are 2'):
        launch.check_launcher(launcher)


def test_port_in_use(project, capsys, monkeypatch):
    # As in a process that a launcher started on a machine without GPU.
    monkeypatch.setattr(torch.cuda, 'set_device', lambda device: None)
    with socket.socket() as server:
        server.bind(('127.0.0.1', 0))
        server.listen()
        port = str(server.getsockname()[1])
        for name, value in dict(
            RANK='0', LOCAL_RANK='0', WORLD_SIZE='2', MASTER_ADDR='127.0.0.1', MASTER_PORT=port
        ).items():
            monkeypatch.setenv(name, value)
        argv = [str(project / 'pretrain.py'), '--launcher', 'pytorch']
        sentence = end_of('train', argv, capsys, monkeypatch)
    assert f'port: {port}' in sentence and 'EADDRINUSE' in sentence


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='needs a full device')
def test_disk_full_while_saving(project, capsys, monkeypatch, tmp_path):
    """The second checkpoint does not fit; the first is as it was."""
    real = open

    def on_full_disk(path, *mode):
        full = 'epoch_2' in str(path)
        return real('/dev/full' if full else path, *mode)

    monkeypatch.setattr(atomic_checkpoint, 'open', on_full_disk, raising=False)
    work = tmp_path / 'work'
    argv = [str(project / 'pretrain.py'), '--work-dir', str(work)]
    argv += ['--cfg-options', 'train_cfg.max_epochs=2']
    argv += ['default_hooks.checkpoint.interval=1']
    argv += ['default_hooks.checkpoint.max_keep_ckpts=1']
    sentence = end_of('train', argv, capsys, monkeypatch)
    assert f'cannot save {work}/epoch_2.pth' in sentence
    assert os.strerror(errno.ENOSPC) in sentence
    assert '--resume' in sentence
    assert [path.name for path in work.glob('epoch_*')] == ['epoch_1.pth']
    saved = torch.load(work / 'epoch_1.pth', weights_only=False)
    assert saved['meta']['epoch'] == 1
    assert (work / 'last_checkpoint').read_text().endswith('epoch_1.pth')


def test_traceback_on_request(project):
    argv = [str(project / 'pretrain.py'), '--traceback']
    argv += ['--cfg-options', 'model.layer_pairs="[(9,3)]"']
    with pytest.raises(ValueError, match='student block 9'):
        load_tool('train').main(argv)


def test_mistakes_of_the_program_keep_their_traceback(project, monkeypatch):
    def fails(cfg):
        raise AttributeError('a mistake in the program')

    monkeypatch.setattr(launch, 'build_runner', fails)
    with pytest.raises(AttributeError):
        load_tool('train').main([str(project / 'pretrain.py')])
