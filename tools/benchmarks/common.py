"""Timing, peak memory and tables for the benchmarks.

Two implementations are timed in one process, in turns, so that other load on the machine affects
both alike. Peak memory is measured in a process of its own for each.
"""

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

DTYPES = dict(fp32=None, bf16=torch.bfloat16, fp16=torch.float16)
PACKAGES = ('torch', 'numpy', 'mmengine', 'mmcv', 'mmcv-lite', 'mmaction2', 'amd-mm')
MIB = 2**20


class UnequalError(ValueError):
    """The implementations compute different values, so they are not timed."""


def positive(text: str) -> int:
    """Argparse type: an integer of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'{text!r} is not an integer of at least 1')
    return int(text)


def add_timing_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--repeats``, ``--warmup`` and ``--json``."""
    parser.add_argument('--repeats', type=positive, default=7, help='timed runs (default: 7)')
    parser.add_argument('--warmup', type=positive, default=2, help='untimed runs (default: 2)')
    parser.add_argument('--json', type=Path, help='also write the measurements to this file')


def add_device_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--device``, ``--dtype`` and ``--threads``."""
    parser.add_argument('--device', default='cpu', help='cpu, cuda, cuda:1 (default: cpu)')
    parser.add_argument(
        '--dtype', choices=DTYPES, default='fp32', help='dtype of autocast (default: fp32, off)'
    )
    parser.add_argument(
        '--threads',
        type=positive,
        default=torch.get_num_threads(),
        help='CPU threads (default: %(default)s)',
    )


def prepare_device(args: argparse.Namespace) -> torch.device:
    """Set the number of threads and return the device.

    Raises:
        ValueError: If PyTorch cannot use the device.
    """
    torch.set_num_threads(args.threads)
    try:
        torch.empty(1, device=args.device)
    except Exception as error:  # every backend has its own exceptions
        reason = str(error).splitlines()[0]
        raise ValueError(f'--device {args.device} cannot be used: {reason}') from error
    return torch.device(args.device)


def autocast(device: torch.device | str, dtype: str) -> AbstractContextManager:
    """Autocast to one of ``DTYPES``; fp32 does nothing."""
    if DTYPES[dtype] is None:
        return nullcontext()
    return torch.autocast(torch.device(device).type, dtype=DTYPES[dtype])


def synchronize(device: torch.device | str) -> None:
    """Wait until a GPU has finished its work."""
    if torch.device(device).type == 'cuda':
        torch.cuda.synchronize(device)


def time_in_turns(
    steps: dict[str, Callable[[], object]], args: argparse.Namespace
) -> dict[str, list[float]]:
    """Time functions in turns (A B A B ...).

    Args:
        steps: Function by name.
        args: With ``device``, ``repeats`` and ``warmup``.

    Returns:
        Seconds of each timed call, by name.
    """
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(args.warmup + args.repeats):
        for name, step in steps.items():
            synchronize(args.device)
            started = time.perf_counter()
            step()
            synchronize(args.device)
            if turn >= args.warmup:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def in_new_process(function: Callable[..., dict], *arguments: object) -> dict:
    """Call a module-level function in a new Python process."""
    spawn = multiprocessing.get_context('spawn')
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(function, *arguments).result()


def measure_memory(step: Callable[[], object], device: torch.device, steps: int = 2) -> dict:
    """Run steps and measure the peak memory; once per process.

    On a GPU this is the memory that PyTorch allocated. On a CPU it is the resident memory of the
    process, including Python and its libraries (Linux only).

    Args:
        step: One step; its model and inputs exist already.
        device: Where it runs.
        steps: Number of steps; the first one creates the optimiser's states.

    Returns:
        MiB ``before`` the steps, and at the ``peak``.
    """
    on_gpu = device.type == 'cuda'
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device) / MIB if on_gpu else _resident_mib('VmRSS')
    for _ in range(steps):
        step()
    synchronize(device)
    peak = torch.cuda.max_memory_allocated(device) / MIB if on_gpu else _resident_mib('VmHWM')
    return dict(before=before, peak=peak)


def _resident_mib(field: str) -> float:
    status = Path('/proc/self/status').read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in status if line.startswith(f'{field}:'))


def describe_machine(device: str = 'cpu', dtype: str = 'fp32') -> dict[str, str]:
    """Date, device and versions that belong to a measurement."""
    facts = dict(date=time.strftime('%Y-%m-%d'), device=device, dtype=dtype)
    processors = [
        line.split(':', 1)[1].strip()
        for line in Path('/proc/cpuinfo').read_text().splitlines()
        if line.startswith('model name')
    ]
    facts['cpu'] = f'{processors[0] if processors else platform.machine()}, {os.cpu_count()} cores'
    facts['threads'] = str(torch.get_num_threads())
    facts['load'] = f'{os.getloadavg()[0]:.1f}'
    if torch.device(device).type == 'cuda':
        facts['gpu'] = torch.cuda.get_device_name(device)
        facts['cuda'] = str(torch.version.cuda)
    facts['python'] = platform.python_version()
    for package in PACKAGES:
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            continue
    return facts


def write_json(path: Path | None, measurements: dict) -> None:
    """Write the measurements; None writes nothing."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(measurements, indent=2))


def log(text: str) -> None:
    """Print progress to stderr, so that stdout holds the table alone."""
    print(text, file=sys.stderr, flush=True)


def median_and_range(values: Sequence[float], digits: int = 0) -> str:
    """``median (lowest to highest)``."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f'{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})'


def table(rows: Sequence[Sequence[str]]) -> str:
    """An aligned Markdown table; the first row is the header."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = [
        '| ' + ' | '.join(cell.ljust(width) for cell, width in zip(row, widths)) + ' |'
        for row in rows
    ]
    rule = '|' + '|'.join('-' * (width + 2) for width in widths) + '|'
    return '\n'.join([lines[0], rule, *lines[1:]])


def comparison_table(
    seconds: dict[str, list[float]], memory: dict[str, dict], batch: int
) -> list[list[str]]:
    """Rows for a baseline and an implementation, and their ratio.

    Args:
        seconds: Seconds of each timed step, by name; the implementation first, then the baseline.
        memory: From :func:`measure_memory`, by name.
        batch: Clips per step.

    Returns:
        Cells: name, time, clips/s, peak memory, memory added by the steps.
    """
    rows = [['', 'ms per step, median (range)', 'clips/s', 'peak MiB', 'added by steps, MiB']]
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    added = {name: memory[name]['peak'] - memory[name]['before'] for name in seconds}
    for name, values in seconds.items():
        time_cell = median_and_range([1e3 * value for value in values])
        speed, peak = f'{batch / medians[name]:.3g}', f'{memory[name]["peak"]:.0f}'
        rows.append([name, time_cell, speed, peak, f'{added[name]:.0f}'])
    if len(seconds) == 2:
        ours, baseline = seconds
        ratios = [
            medians[baseline] / medians[ours],
            memory[ours]['peak'] / memory[baseline]['peak'],
            added[ours] / max(added[baseline], 1e-9),
        ]
        rows.append([f'{ours} / {baseline}', '', *(f'{ratio:.2f} x' for ratio in ratios)])
    return rows
