"""What the benchmarks share: settings, timing, peak memory, tables.

Two ways of doing one thing are compared. Speed: both in one process, taking
turns, so that whatever else the machine does meets both. Memory: each in a
process of its own, because a process's peak cannot be taken back.
"""

import argparse
import json
import multiprocessing
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeVar

import torch

Result = TypeVar('Result')
DTYPES = dict(fp32=None, bf16=torch.bfloat16, fp16=torch.float16)
_PACKAGES = ('torch', 'numpy', 'mmengine', 'mmcv', 'mmcv-lite', 'mmaction2', 'amd-mm')
_MIB = 2**20


class UnequalError(Exception):
    """Two ways do not compute the same; nothing is timed then."""


@dataclass(frozen=True)
class Machine:
    """On what is measured.

    Attributes:
        device (str): As torch names it: ``cpu``, ``cuda``, ``cuda:1``.
        dtype (str): ``fp32``, or what autocast computes in.
        threads (int): Threads of torch's CPU operators.
    """

    device: str
    dtype: str
    threads: int

    def prepare(self) -> torch.device:
        """Set the threads; the device."""
        torch.set_num_threads(self.threads)
        return torch.device(self.device)

    def autocast(self) -> AbstractContextManager:
        """The context for forward passes; weights stay float32."""
        if DTYPES[self.dtype] is None:
            return nullcontext()
        kind = torch.device(self.device).type
        return torch.autocast(kind, dtype=DTYPES[self.dtype])

    def wait(self) -> None:
        """Let the device finish what it was given."""
        if torch.device(self.device).type == 'cuda':
            torch.cuda.synchronize(self.device)


@dataclass(frozen=True)
class Memory:
    """Memory of a process or of its GPU, in MiB.

    Attributes:
        before (float): Held when everything was built, before the first step.
        peak (float): The most that was held at a time, steps included.
    """

    before: float
    peak: float

    @property
    def added(self) -> float:
        """What the steps needed on top."""
        return self.peak - self.before


def add_machine_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments for :func:`machine_of`, and those for timing and output."""
    parser.add_argument('--device', default='cpu', help='cpu, cuda, cuda:1 (default: cpu)')
    parser.add_argument(
        '--dtype', choices=DTYPES, default='fp32', help='bf16 and fp16 by autocast (default: fp32)'
    )
    parser.add_argument(
        '--threads',
        type=positive,
        default=torch.get_num_threads(),
        help="threads of torch's CPU operators (default: as torch finds best, here %(default)s)",
    )
    parser.add_argument(
        '--repeats', type=positive, default=7, help='timed turns of each way (default: 7)'
    )
    parser.add_argument('--warmup', type=positive, default=2, help='turns before that (default: 2)')
    parser.add_argument('--json', type=Path, help='write all figures to this file too')


def positive(text: str) -> int:
    """A whole number from 1, as an argparse type."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'{text!r} is no number from 1')
    return int(text)


def machine_of(args: argparse.Namespace) -> Machine:
    """The machine that the arguments ask for.

    Raises:
        ValueError: If torch has no such device here.
    """
    try:
        torch.empty(1, device=args.device)
    except Exception as error:  # each backend raises errors of its own
        first_line = str(error).splitlines()[0]
        raise ValueError(f'--device {args.device} cannot be used here: {first_line}') from error
    return Machine(args.device, args.dtype, args.threads)


def describe(machine: Machine) -> dict[str, str]:
    """Device, threads and versions, for people to compare figures by."""
    device = torch.device(machine.device)
    facts = dict(
        date=time.strftime('%Y-%m-%d'),
        device=str(device),
        processor=_processor(),
        cores=f'{len(_cores())}, {machine.threads} threads used',
        load=f'{os.getloadavg()[0]:.1f} (processes running at the start, average of a minute)',
    )
    if device.type == 'cuda':
        facts['gpu'] = torch.cuda.get_device_name(device)
        facts['cuda'] = str(torch.version.cuda)
    facts['dtype'] = machine.dtype
    facts['python'] = platform.python_version()
    for package in _PACKAGES:
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            continue
    return facts


def _processor() -> str:
    try:
        for line in Path('/proc/cpuinfo').read_text().splitlines():
            if line.startswith('model name'):
                return line.split(':', 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _cores() -> Sequence[int]:
    if hasattr(os, 'sched_getaffinity'):
        return sorted(os.sched_getaffinity(0))
    return range(os.cpu_count() or 1)


def take_turns(
    ways: dict[str, Callable[[], object]], machine: Machine, repeats: int, warmup: int
) -> dict[str, list[float]]:
    """Time several ways, in turns: A B A B ...

    Args:
        ways (Dict[str, Callable]): Each does one step.
        machine (Machine): Where.
        repeats (int): Timed steps of each.
        warmup (int): Steps of each that are not timed.

    Returns:
        Dict[str, List[float]]: Seconds of each timed step.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(warmup + repeats):
        for name, step in ways.items():
            machine.wait()
            started = time.perf_counter()
            step()
            machine.wait()
            if turn >= warmup:
                seconds[name].append(time.perf_counter() - started)
        note(f'turn {turn + 1} of {warmup + repeats}{" (warm-up)" if turn < warmup else ""}')
    return seconds


def matmul_ceiling(machine: Machine, repeats: int = 20) -> float:
    """What the device reaches in a large matrix product, in FLOP/s.

    Args:
        machine (Machine): Where; in the dtype that autocast computes in.
        repeats (int): Products; the fastest counts.

    Returns:
        float: Operations per second, a multiply-add being two.
    """
    device = machine.prepare()
    size = 8192 if device.type == 'cuda' else 2048
    dtype = DTYPES[machine.dtype] or torch.float32
    one, other = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    seconds = []
    for _ in range(repeats + 2):
        machine.wait()
        started = time.perf_counter()
        one @ other
        machine.wait()
        seconds.append(time.perf_counter() - started)
    return 2 * size**3 / min(seconds[2:])


def write_figures(path: Path | None, **figures: object) -> None:
    """Write what ``--json`` asks for; folders are made.

    Args:
        path (Path, optional): The file; None writes nothing.
        **figures: Top-level entries.
    """
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=2))


def note(text: str) -> None:
    """Say how far it is, without getting into a piped table."""
    print(text, file=sys.stderr, flush=True)


def in_own_process(function: Callable[..., Result], *arguments) -> Result:
    """Call a function of a module in a fresh Python, and wait for it."""
    fresh = multiprocessing.get_context('spawn')
    with ProcessPoolExecutor(1, mp_context=fresh) as pool:
        return pool.submit(function, *arguments).result()


def measure_memory(step: Callable[[], object], machine: Machine, steps: int = 2) -> Memory:
    """Run some steps and see what they needed; once in a process.

    On a GPU: what torch's allocator gave out. On a CPU: the resident memory
    of the process, Python and libraries included.

    Args:
        step (Callable): Does one step; everything it works on is there.
        machine (Machine): Where.
        steps (int): How many: optimiser states come with the first.

    Returns:
        Memory: Before and at the peak.
    """
    device = torch.device(machine.device)
    on_gpu = device.type == 'cuda'
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device) / _MIB
    else:
        before = _resident('VmRSS')
    for _ in range(steps):
        step()
    machine.wait()
    if on_gpu:
        return Memory(before, torch.cuda.max_memory_allocated(device) / _MIB)
    return Memory(before, _resident('VmHWM'))


def _resident(field: str) -> float:
    """MiB of this process: ``VmRSS``, now, or ``VmHWM``, the peak."""
    try:
        # Not getrusage where there is a choice: on Linux its peak is at least
        # that of the process which started this one.
        for line in Path('/proc/self/status').read_text().splitlines():
            if line.startswith(f'{field}:'):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (_MIB if sys.platform == 'darwin' else 1024)


def middle_and_spread(values: Sequence[float], digits: int = 0) -> str:
    """``median (lowest to highest)``."""
    return (
        f'{statistics.median(values):.{digits}f} '
        f'({min(values):.{digits}f} to {max(values):.{digits}f})'
    )


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows, the first being the header, as aligned Markdown."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = [
        '| ' + ' | '.join(cell.ljust(width) for cell, width in zip(row, widths)) + ' |'
        for row in rows
    ]
    rule = '|' + '|'.join('-' * (width + 2) for width in widths) + '|'
    return '\n'.join([lines[0], rule, *lines[1:]])
