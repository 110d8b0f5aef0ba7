"""Run commands one after the other, or two side by side, and skip finished ones.

Needs nothing but Python's standard library.
"""

import os
import re
import subprocess
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

PROGRESS = re.compile(r'Iter\(train\) *\[ *(\d+)/ *(\d+)\].*? loss: ([\d.]+)')


class StepError(Exception):
    """A step failed; the message shows the end of its log."""


@dataclass(frozen=True)
class Step:
    """A command that makes a file.

    Attributes:
        name: Shown before each line of progress.
        command: Arguments of Python.
        output: The file that the command writes last. A step is skipped if it exists.
    """

    name: str
    command: Sequence[str]
    output: Path

    @property
    def log(self) -> Path:
        """The file with everything that the command prints."""
        return self.output.parent / 'quickstart.log'

    def say(self, text: str) -> None:
        """Print a line about this step."""
        print(f'{self.name:>26} | {text}', flush=True)


class Runner:
    """Runs chains of steps; tiny models gain little from a second core, so two chains at a time.

    Args:
        python: The Python that runs the steps.
    """

    def __init__(self, python: str) -> None:
        self.python = python
        self.cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else 2
        self.processes: list[subprocess.Popen] = []
        self.unfinished = 0  # chains
        self.stopped = False
        self.lock = threading.Lock()

    def run(self, *chains: Sequence[Step]) -> None:
        """Run all chains; the steps of a chain follow each other.

        Raises:
            StepError: If a step fails; the others are ended.
        """
        self.unfinished = len(chains)
        with ThreadPoolExecutor(2) as pool:
            try:
                for chain in as_completed([pool.submit(self._run_chain, c) for c in chains]):
                    chain.result()
            finally:
                self._stop()
        self.stopped = False

    def _run_chain(self, chain: Sequence[Step]) -> None:
        for step in chain:
            if step.output.exists():
                step.say(f'skipped, {step.output} exists')
            else:
                self._run_step(step)
        self.unfinished -= 1

    def _run_step(self, step: Step) -> None:
        threads = max(1, self.cores // min(2, self.unfinished))
        step.output.parent.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        with self.lock:
            if self.stopped:
                return
            process = subprocess.Popen(
                [self.python, *step.command],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors='replace',
                env={**os.environ, 'OMP_NUM_THREADS': str(threads)},
            )
            self.processes.append(process)
        step.say(f'log: {step.log}')
        with open(step.log, 'a') as log:
            for line in process.stdout:
                log.write(line)
                log.flush()
                if found := PROGRESS.search(line):
                    step.say('step {} of {}, loss {}'.format(*found.groups()))
                elif line.endswith(' %\n'):
                    step.say(line.strip())
        code = process.wait()
        if self.stopped:
            return
        if code or not step.output.exists():
            last = step.log.read_text(errors='replace').splitlines()[-12:]
            raise StepError(
                f'{step.name} failed (exit code {code}). Its log ends with:\n    | '
                + '\n    | '.join(last)
                + f'\nWhole log: {step.log}. The same command continues from here.'
            )
        step.say(f'done in {time.monotonic() - started:.0f} s')

    def _stop(self) -> None:
        with self.lock:
            self.stopped = True
            for process in self.processes:
                process.terminate()  # does nothing to one that has ended
            self.processes.clear()
