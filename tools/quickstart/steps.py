"""Install, then run commands one after the other or two side by side, and skip finished ones.

Needs nothing but Python's standard library.
"""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TRAINING = re.compile(r'\(train\) *(?:\[ *(\d+)\])?\[ *(\d+)/ *(\d+)\].*? loss: ([\d.]+)')
PER_CENT = re.compile(r'(\d+) %$')
NICENESS = 10  # of chains beside the longest
LINE_INTERVAL = 10  # seconds between lines of progress where lines cannot be overwritten


def ensure_installed() -> None:
    """Install what is missing, and restart the program in the virtual environment."""
    if subprocess.call(['bash', str(ROOT / 'tools' / 'install.sh'), '--quickstart', '--again']):
        sys.exit(1)
    venv = Path(os.environ.get('VIRTUAL_ENV') or ROOT / '.venv')
    if Path(sys.prefix).resolve() != venv.resolve():
        python = str(venv / 'bin' / 'python')
        os.execv(python, [python, *sys.argv])


class StepError(Exception):
    """A step failed; the message shows the end of its log."""


@dataclass(frozen=True)
class Step:
    """A command that makes a file.

    Attributes:
        name: Shown in the progress.
        command: Arguments of Python.
        output: The file that the command writes last. A step is skipped if it exists.
        seconds: What it takes on a fast core, to estimate the time left.
    """

    name: str
    command: Sequence[str]
    output: Path
    seconds: float = 60

    @property
    def log(self) -> Path:
        """The file with everything that the command prints."""
        return self.output.parent / 'quickstart.log'

    def trained(self, epoch: str | None, done: str, of: str, loss: str) -> tuple[float, str]:
        """The share of a training that is done, and a note, from a line of its log."""
        share, note = int(done) / int(of), f'{done}/{of}'
        if epoch:  # its steps are counted, and the output is the last epoch's checkpoint
            last = int(self.output.stem.removeprefix('epoch_'))
            share, note = (int(epoch) - 1 + share) / last, f'epoch {epoch}/{last}'
        return share, f'{note}, loss {loss}'


Chain = Sequence[Step]
"""Steps that follow each other."""


class Progress:
    """One line about all steps: the share that is done, the time left, and the running steps.

    Args:
        phases: See :meth:`Runner.run`.
    """

    def __init__(self, phases: Sequence[Sequence[Chain]]) -> None:
        self.phases = phases
        self.done = {
            step.output: float(step.output.exists())
            for phase in phases
            for chain in phase
            for step in chain
        }
        self.planned = self.work_left()
        self.started = self.printed = time.monotonic()
        self.notes: dict[str, str] = {}
        self.lock = threading.Lock()

    def work_left(self) -> float:
        """Seconds on two fast cores."""
        total = 0.0
        for phase in self.phases:
            rest = [sum((1 - self.done[s.output]) * s.seconds for s in chain) for chain in phase]
            total += max(max(rest), sum(rest) / 2)
        return total

    def seconds_left(self, elapsed: float) -> float:
        """Seconds on this machine, by its speed so far; one of the planned speed has a weight."""
        left = self.work_left()
        return left * (elapsed + 5) / (self.planned - left + 5)

    def update(self, step: Step, share: float, note: str) -> None:
        """A step has come this far."""
        with self.lock:
            self.done[step.output] = share
            self.notes[step.name] = f'{step.name} {note}'
            now = time.monotonic()
            if sys.stdout.isatty():
                print(f'\r\033[K{self.line(now)}', end='', flush=True)
            elif now - self.printed > LINE_INTERVAL:
                self.printed = now
                print(self.line(now), flush=True)

    def line(self, now: float) -> str:
        """The line."""
        share = 1 - self.work_left() / self.planned
        minutes, seconds = divmod(round(self.seconds_left(now - self.started)), 60)
        return f'{share:4.0%} | {minutes}:{seconds:02} left | ' + ' | '.join(self.notes.values())

    def finish(self, step: Step, note: str) -> None:
        """Print that a step has ended."""
        with self.lock:
            self.done[step.output] = 1.0
            self.notes.pop(step.name, None)
            start = '\r\033[K' if sys.stdout.isatty() else ''
            print(f'{start}{step.name}: {note}', flush=True)


class Runner:
    """Runs chains of steps; tiny models gain little from a second core, so two chains at a time.

    The first chain of a phase is the longest, and the others give way to it.
    """

    def __init__(self) -> None:
        self.cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else 2
        self.processes: list[subprocess.Popen] = []
        self.unfinished = 0  # chains of the phase
        self.stopped = False
        self.lock = threading.Lock()

    def run(self, *phases: Sequence[Chain]) -> None:
        """Run all phases in turn; the chains of a phase run side by side.

        Raises:
            StepError: If a step fails; the others are ended.
        """
        self.progress = Progress(phases)
        for chains in phases:
            self.unfinished = len(chains)
            with ThreadPoolExecutor(2) as pool:
                try:
                    ended = [
                        pool.submit(self._run_chain, chain, NICENESS if number else 0)
                        for number, chain in enumerate(chains)
                    ]
                    for chain in as_completed(ended):
                        chain.result()
                finally:
                    self._stop()
            self.stopped = False

    def _run_chain(self, chain: Chain, niceness: int) -> None:
        for step in chain:
            if step.output.exists():
                self.progress.finish(step, f'skipped, {step.output} exists')
            else:
                self._run_step(step, niceness)
        self.unfinished -= 1

    def _run_step(self, step: Step, niceness: int) -> None:
        threads = max(1, self.cores // min(2, self.unfinished))
        step.output.parent.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        with self.lock:
            if self.stopped:
                return
            process = subprocess.Popen(
                ['nice', '-n', str(niceness), sys.executable, *step.command],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors='replace',
                env={**os.environ, 'OMP_NUM_THREADS': str(threads)},
            )
            self.processes.append(process)
        self.progress.update(step, 0.0, 'starts')
        with open(step.log, 'a') as log:
            for line in process.stdout:
                log.write(line)
                log.flush()
                if found := TRAINING.search(line):
                    self.progress.update(step, *step.trained(*found.groups()))
                elif found := PER_CENT.search(line):
                    self.progress.update(step, int(found[1]) / 100, line.strip())
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
        self.progress.finish(step, f'done in {time.monotonic() - started:.0f} s')

    def _stop(self) -> None:
        with self.lock:
            self.stopped = True
            for process in self.processes:
                process.terminate()  # does nothing to one that has ended
            self.processes.clear()
