"""Two runs in one work folder."""

import multiprocessing
import sys
import time

import pytest
from amd_mm.engine.work_dir import locked
from amd_mm.errors import ConfigError

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


@pytest.mark.parametrize('error', [OSError, None])
def test_folders_without_locks(tmp_path, monkeypatch, error):
    folder = tmp_path if error else '/proc'
    if error:
        monkeypatch.setattr('fcntl.lockf', lambda *arguments: (_ for _ in ()).throw(error()))
    with locked(folder):
        pass
