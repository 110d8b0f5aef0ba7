"""Finished work is kept, interrupted work goes on, failures name the log."""

from pathlib import Path

import pytest
from tasks import Crew, Task, TaskError, config_files, progress


def python(code: str, folder: Path, **other) -> Task:
    return Task('a task', folder, ('-c', code), **other)


def count(folder: Path) -> tuple[str, Path]:
    """A program that adds an x to a file, outside the task's folder."""
    counter = folder / 'counter'
    return f'open({str(counter)!r}, "a").write("x")', counter


def test_finished_tasks_are_skipped_and_it_says_so(tmp_path: Path, capsys) -> None:
    code, counter = count(tmp_path)
    for _ in range(2):
        Crew(1).run([python(code, tmp_path / 'out')])
    assert counter.read_text() == 'x'
    assert 'skipped' in capsys.readouterr().out


def test_changed_inputs_start_it_and_what_rests_on_it_anew(tmp_path: Path) -> None:
    code, counter = count(tmp_path)
    config = tmp_path / 'config'

    def run() -> None:
        first = python('pass', tmp_path / 'first', inputs=(config,))
        Crew(1).run([first])
        Crew(1).run([python(code, tmp_path / 'second', after=(first,))])

    config.write_text('a')
    run()
    (tmp_path / 'second' / 'leftover').touch()
    config.write_text('b')
    run()
    assert counter.read_text() == 'xx'
    assert not (tmp_path / 'second' / 'leftover').exists()


def test_a_changed_fact_starts_it_anew(tmp_path: Path) -> None:
    code, counter = count(tmp_path)
    for facts in (('a',), ('a',), ('b',)):
        Crew(1).run([python(code, tmp_path / 'out', facts=facts)])
    assert counter.read_text() == 'xx'


def test_bases_of_a_config_are_inputs_too(tmp_path: Path) -> None:
    texts = {
        'a.py': "_base_ = ['b.py', 'deep/c.py']\nx = _base_.y",
        'b.py': "_base_ = 'deep/c.py'",
        'deep/c.py': 'y = 1',
    }
    (tmp_path / 'deep').mkdir()
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    found = config_files(tmp_path / 'a.py')
    assert [str(path.relative_to(tmp_path)) for path in found] == ['a.py', 'b.py', 'deep/c.py']


def test_failure_names_the_log_and_shows_its_end(tmp_path: Path) -> None:
    task = python('print("all"); raise SystemExit("is lost")', tmp_path / 'o')
    with pytest.raises(TaskError) as caught:
        Crew(1).run([task])
    assert str(task.log) in str(caught.value)
    assert 'is lost' in str(caught.value)
    assert task.state() == 'begun'


def test_failure_stops_the_others(tmp_path: Path) -> None:
    slow = python('import time; time.sleep(60)', tmp_path / 'slow')
    bad = python('import time; time.sleep(.5); 1 / 0', tmp_path / 'bad')
    with pytest.raises(TaskError, match='ZeroDivisionError'):
        Crew(2).run([slow, bad], at_a_time=2)
    assert slow.state() == 'begun'


def test_interrupted_tasks_are_told_to_resume(tmp_path: Path, capsys) -> None:
    flag = tmp_path / 'flag'
    code = (
        'import sys, pathlib; flag = pathlib.Path(sys.argv[1]); '
        'assert flag.exists(); flag.write_text(" ".join(sys.argv))'
    )
    task = Task('a task', tmp_path / 'out', ('-c', code, str(flag)), resume=('--resume',))
    with pytest.raises(TaskError):
        Crew(1).run([task])
    (tmp_path / 'out' / 'checkpoint').touch()
    flag.touch()
    Crew(1).run([task])
    assert flag.read_text().endswith('--resume')
    assert (tmp_path / 'out' / 'checkpoint').exists()
    assert 'goes on' in capsys.readouterr().out


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / 'thesis.tex').touch()
    with pytest.raises(TaskError, match='--out'):
        Crew(1).run([python('pass', tmp_path)])
    assert (tmp_path / 'thesis.tex').exists()


def test_threads_are_shared_among_tasks_side_by_side(tmp_path: Path) -> None:
    code = 'import os; print("threads", os.environ["OMP_NUM_THREADS"])'
    tasks = [python(code, tmp_path / str(number)) for number in range(2)]
    Crew(4).run(tasks, at_a_time=2)
    assert all('threads 2' in task.log.read_text() for task in tasks)
    alone = python(code, tmp_path / 'alone')
    Crew(4).run([alone], at_a_time=2)
    assert 'threads 4' in alone.log.read_text()


def test_tasks_wait_for_what_they_rest_on(tmp_path: Path) -> None:
    """And what need not wait starts at once, whatever the order."""
    code = f'open({str(tmp_path / "order")!r}, "a").write'
    first = python(f'import time; time.sleep(.3); {code}("1")', tmp_path / '1')
    second = python(f'{code}("2")', tmp_path / '2', after=(first,))
    third = python(f'{code}("3")', tmp_path / '3', after=(second,))
    other = python(f'{code}("o")', tmp_path / 'o')
    Crew(1).run([third, second, first, other])
    assert (tmp_path / 'order').read_text() == '123o'
    assert all(task.state() == 'finished' for task in (first, second, third))


def test_nothing_waits_for_a_failed_task(tmp_path: Path) -> None:
    bad = python('1 / 0', tmp_path / 'bad')
    late = python('pass', tmp_path / 'late', after=(bad,))
    with pytest.raises(TaskError, match='ZeroDivisionError'):
        Crew(2).run([bad, late], at_a_time=2)
    assert late.state() is None
    with pytest.raises(ValueError, match='neither finished nor to be run'):
        Crew(2).run([late])


def test_progress_of_a_training_log_in_short() -> None:
    line = (
        '11/20 19:41:02 - mmengine - INFO - Iter(train) [ 50/900]  lr: '
        '1.5e-03  eta: 0:01:40  time: 0.11  data_time: 0.01  clips_per_s: '
        '570.0  data_share: 0.04  loss: 0.4321  loss_rec: 0.4321\n'
    )
    assert progress(line) == (
        'step 50 of 900  loss 0.4321  clips/s 570.0  data_share 0.04  eta 0:01:40'
    )
    assert progress('heldout: 20 %\n') == 'heldout: 20 %'
    assert progress('something else\n') is None
