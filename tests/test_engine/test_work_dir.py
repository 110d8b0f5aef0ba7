"""Two runs in one work folder."""

import multiprocessing
import sys
import time

import pytest
from amd_mm.engine import launch
from amd_mm.engine.work_dir import locked
from amd_mm.errors import ConfigError
from mmengine.config import Config

from tests.test_tools.tool_scripts import load_tool

FORK = multiprocessing.get_context('fork')


def hold(folder, started=None):
    try:
        with locked(folder):
            if started is not None:
                FORK.Process(target=time.sleep, args=(3,)).start()  # as a data loader's
                started.set()
                time.sleep(60)
    except ConfigError as error:
        assert 'in use by another run (process ' in str(error)
        sys.exit(7)


def try_to_hold(folder):
    process = FORK.Process(target=hold, args=(folder,))
    process.start()
    process.join(30)
    return process.exitcode


def test_the_second_run_refuses_and_a_killed_one_leaves_no_lock(tmp_path):
    started = FORK.Event()
    run = FORK.Process(target=hold, args=(tmp_path, started))
    run.start()
    assert started.wait(30)
    assert try_to_hold(tmp_path) == 7
    run.kill()
    run.join(30)
    assert try_to_hold(tmp_path) == 0
    with locked(tmp_path):
        assert try_to_hold(tmp_path) == 7
    assert try_to_hold(tmp_path) == 0


def test_the_training_tool_holds_its_work_folder(tmp_path, monkeypatch):
    cfg = Config(dict(launcher='none', work_dir=str(tmp_path)))
    tool = load_tool('train')
    monkeypatch.setattr(tool, 'build_config', lambda args: cfg)
    monkeypatch.setattr(launch, 'scale_learning_rate', lambda *arguments: None)
    tried = []

    def build(*arguments):
        tried.append(try_to_hold(tmp_path))
        raise ConfigError('enough')

    monkeypatch.setattr(launch, 'build_training', build)
    with pytest.raises(SystemExit, match='enough'):
        tool.main(['config.py'])
    assert tried == [7]
    monkeypatch.setenv('RANK', '1')
    cfg.launcher = 'pytorch'
    with pytest.raises(SystemExit, match='enough'):
        tool.main(['config.py', '--launcher', 'pytorch'])
    assert tried == [7, 0]  # only the first process holds it


@pytest.mark.parametrize('error', [OSError, None])
def test_folders_without_locks(tmp_path, monkeypatch, error):
    folder = tmp_path if error else '/proc'
    if error:
        monkeypatch.setattr('fcntl.lockf', lambda *arguments: (_ for _ in ()).throw(error()))
    with locked(folder):
        pass
