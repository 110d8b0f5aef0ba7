"""Runs commands side by side, with logs, progress and resuming."""

import ast
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

_STATE = 'quickstart.json'
# [ 200/1000] ... eta: 0:01:02 ... loss: 0.2345, as MMEngine logs it.
_STEP = re.compile(r'Iter\(train\) *\[ *(\d+)/(\d+)\]')
_FIELDS = (
    ('loss', re.compile(r' loss: ([\d.]+)')),
    ('clips/s', re.compile(r'clips_per_s: ([\d.]+)')),
    ('data_share', re.compile(r'data_share: ([\d.]+)')),
    ('eta', re.compile(r' eta: ([\d:]+)')),
)


class TaskError(Exception):
    """A task failed; the message says which log to read."""


@dataclass(frozen=True)
class Task:
    """A command that fills a folder.

    Attributes:
        name (str): For the lines on the screen.
        folder (Path): What it fills; log and state are kept there too.
        command (Tuple[str, ...]): Arguments of Python.
        inputs (Tuple[Path, ...]): Files on which the outcome depends: when
            one of them, a fact or the command changes the task starts anew.
        facts (Tuple[str, ...]): What else decides the outcome.
        after (Tuple[Task, ...]): What the outcome rests on.
        resume (Tuple[str, ...]): Further arguments when it was interrupted.
    """

    name: str
    folder: Path
    command: tuple[str, ...]
    inputs: tuple[Path, ...] = ()
    facts: tuple[str, ...] = ()
    after: tuple['Task', ...] = ()
    resume: tuple[str, ...] = ()

    @property
    def log(self) -> Path:
        """Where everything that the command prints goes."""
        return self.folder / 'quickstart.log'

    def key(self) -> str:
        """A digest of everything that decides the outcome."""
        words = '\0'.join(self.command + self.facts)
        digest = hashlib.sha256(os.fsencode(words))
        for path in self.inputs:
            digest.update(path.read_bytes())
        for task in self.after:
            digest.update(task.key().encode())
        return digest.hexdigest()

    def state(self) -> str | None:
        """``finished``, ``begun`` or None, of a task with this key."""
        state = self._stored()
        if state.get('key') != self.key():
            return None
        return 'finished' if state.get('finished') else 'begun'

    def prepare(self) -> bool:
        """Make the folder ready; true if there is something to resume."""
        begun = self.state() == 'begun'
        if not begun and self._stored():  # only what a task has made
            shutil.rmtree(self.folder)
        elif not begun and self.folder.is_dir() and any(self.folder.iterdir()):
            raise TaskError(
                f'{self.folder} is not empty and was not made by '
                'the quickstart: give another folder with --out'
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        self.note(finished=False)
        return begun

    def note(self, finished: bool, seconds: float | None = None) -> None:
        """Write down how far the task is."""
        state = dict(key=self.key(), finished=finished, seconds=seconds)
        part = self.folder / f'{_STATE}.part'
        part.write_text(json.dumps(state))
        part.replace(self.folder / _STATE)

    def _stored(self) -> dict:
        try:
            return json.loads((self.folder / _STATE).read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return {}


class Crew:
    """Runs tasks, some at a time.

    Args:
        cores (int): Processor cores to share.
    """

    def __init__(self, cores: int) -> None:
        self.cores = cores
        self._running: list[subprocess.Popen] = []
        self._lock = threading.Lock()
        self._stopped = False

    def run(self, tasks: Sequence[Task], at_a_time: int = 1) -> None:
        """Run what is not finished yet, each after what it rests on.

        Args:
            tasks (Sequence[Task]): The first of those that could start goes
                first.
            at_a_time (int): How many run side by side, sharing the cores.

        Raises:
            TaskError: If one fails; the others are stopped.
            ValueError: If a task rests on one that is neither finished nor
                among these.
        """
        waiting = []
        for task in tasks:
            if task.state() == 'finished':
                self.say(task, f'finished before, skipped ({task.folder})')
            else:
                waiting.append(task)
        running: set[Future] = set()
        with ThreadPoolExecutor(at_a_time) as pool:
            try:
                while waiting or running:
                    ready = _ready(waiting)[: at_a_time - len(running)]
                    if not ready and not running:
                        raise ValueError(
                            f'{waiting[0].name} rests on a task that is '
                            'neither finished nor to be run'
                        )
                    share = self.cores // max(1, len(ready) + len(running))
                    for task in ready:
                        waiting.remove(task)
                        running.add(pool.submit(self._run_one, task, max(1, share)))
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        future.result()
            finally:
                self._stop()
        self._stopped = False

    def say(self, task: Task, text: str) -> None:
        """Print a line about a task."""
        print(f'{task.name:>25} | {text}', flush=True)

    def _stop(self) -> None:
        """End what still runs (nothing, when all went well)."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.terminate()

    def _run_one(self, task: Task, threads: int) -> None:
        begun = task.prepare()
        command = [sys.executable, *task.command]
        if begun and task.resume:
            command += task.resume
            self.say(task, 'was interrupted, goes on')
        self.say(task, f'log: {task.log}')
        started = time.monotonic()
        code = self._execute(task, command, threads)
        seconds = time.monotonic() - started
        if self._stopped:
            return
        if code:
            raise TaskError(
                f'{task.name} failed (exit code {code}). Its log ends with:\n'
                f'{_tail(task.log)}\nThe whole log is {task.log}. Run the '
                'same command again to go on from here.'
            )
        task.note(finished=True, seconds=seconds)
        self.say(task, f'done in {seconds:.0f} s')

    def _execute(self, task: Task, command: list[str], threads: int) -> int:
        with self._lock:
            if self._stopped:
                return 0
            process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors='replace',
                env=dict(os.environ, OMP_NUM_THREADS=str(threads)),
            )
            self._running.append(process)
        with open(task.log, 'a') as log:
            log.write(f'$ {" ".join(command)}\n')
            for line in process.stdout:
                log.write(line)
                log.flush()
                news = progress(line)
                if news:
                    self.say(task, news)
        code = process.wait()
        with self._lock:
            self._running.remove(process)
        return code


def config_files(path: Path) -> tuple[Path, ...]:
    """A config of MMEngine and all those that it derives from.

    Only ``_base_`` is read, not run.

    Args:
        path (Path): The config, whose bases are files beside it.

    Returns:
        Tuple[Path, ...]: Each file once, the config itself first.
    """
    files = {path: None}
    for statement in ast.parse(path.read_text()).body:
        if not isinstance(statement, ast.Assign):
            continue
        if getattr(statement.targets[0], 'id', None) != '_base_':
            continue
        bases = ast.literal_eval(statement.value)
        for base in [bases] if isinstance(bases, str) else bases:
            files.update(dict.fromkeys(config_files((path.parent / base).resolve())))
    return tuple(files)


def progress(line: str) -> str | None:
    """What a line of a log says about progress, in short.

    Args:
        line (str): A line that a task printed.

    Returns:
        str, optional: None if it says nothing.
    """
    step = _STEP.search(line)
    if step is None:
        return line.strip() if line.rstrip().endswith(' %') else None
    found = [(name, field.search(line)) for name, field in _FIELDS]
    fields = [f'{name} {match.group(1)}' for name, match in found if match]
    return f'step {step.group(1)} of {step.group(2)}  ' + '  '.join(fields)


def _ready(tasks: Sequence[Task]) -> list[Task]:
    """Those that can start: what they rest on is finished."""
    return [task for task in tasks if all(other.state() == 'finished' for other in task.after)]


def _tail(log: Path, lines: int = 12) -> str:
    last = log.read_text(errors='replace').splitlines()[-lines:]
    return '\n'.join(f'    | {line[:200]}' for line in last)
