"""How fast a pre-training config trains, and where the time goes.

    python tools/benchmarks/pretrain_step.py CONFIG --device cuda \
        --dtype bf16 --batch 64 --against plain

Synthetic clips or images of the config's size, random weights, its own
optimiser and optimiser wrapper. `--against plain` measures the step as it is
usually written on the same inputs and weights (plain_step.py says what that
is); `--against KEY=VALUE ...` measures the same config with other options.
Both take turns in one process. Before anything is timed, both train for some
steps from the same weights on the same inputs, and their losses have to agree.
"""

import argparse
import gc
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import amd_mm  # noqa: F401, its import-time fixes serve what follows
import torch
from amd_mm.utils.quiet import warnings_only
from common import (
    DTYPES,
    Machine,
    Memory,
    UnequalError,
    add_machine_arguments,
    describe,
    in_own_process,
    machine_of,
    matmul_ceiling,
    measure_memory,
    middle_and_spread,
    note,
    positive,
    table,
    take_turns,
    write_figures,
)
from mmengine.config import DictAction
from plain_step import NotPlainError
from step_ways import OPTIMISER, OTHER, OURS, PLAIN, PartSteps, Task, Way, has_parts
from torch.utils.flop_counter import FlopCounterMode

try:
    from torch.nn.attention import SDPBackend, sdpa_kernel

    plain_attention = partial(sdpa_kernel, SDPBackend.MATH)
except ImportError:  # before PyTorch 2.3
    plain_attention = partial(
        torch.backends.cuda.sdp_kernel, enable_flash=False, enable_mem_efficient=False
    )

# Relative difference of a step's losses: what rounding explains, with room.
_TOLERANCE = dict(fp32=1e-4, bf16=3e-2, fp16=3e-2)


def compare(ways: dict[str, Way], steps: int, machine: Machine) -> dict[str, list[float]]:
    """Train both from the same weights on the same masks.

    Args:
        ways (Dict[str, Way]): Name -> way.
        steps (int): How many.
        machine (Machine): Its dtype decides the tolerance.

    Returns:
        Dict[str, List[float]]: The loss of every step, for each way.

    Raises:
        UnequalError: If they differ by more than rounding, or are no numbers.
    """
    losses: dict[str, list[float]] = {name: [] for name in ways}
    limit = _TOLERANCE[machine.dtype]
    for number in range(steps):
        for name, way in ways.items():
            torch.manual_seed(number)
            losses[name].append(way.step().item())
        first, *others = (values[-1] for values in losses.values())
        note(
            f'equality: step {number + 1} of {steps}, losses '
            f'{", ".join(f"{values[-1]:.6g}" for values in losses.values())}'
        )
        for other in others:
            if not abs(first - other) <= limit * abs(first):
                raise UnequalError(
                    f'in step {number + 1} the losses of {" and ".join(ways)} '
                    f'are {first:.6g} and {other:.6g}; a difference of '
                    f'{limit:g} of them is rounding in {machine.dtype}. '
                    'Nothing was timed'
                )
    return losses


def count_flops(task: Task, machine: Machine) -> dict[str, float]:
    """Floating-point operations of a clip's step, by part.

    Matrix products and convolutions; a multiply-add is two. Attention counts
    as its two products, and the backward pass recomputes nothing.

    Args:
        task (Task): What is measured; one clip of it is counted.
        machine (Machine): Where.

    Returns:
        Dict[str, float]: Part -> operations; ``step`` for a model without
        parts.
    """
    options = dict(task.options, **{'model.compile_blocks': False})
    one = Task(task.config, options, None, 1, task.lr, task.plain_dtype)
    way = Way(OURS, one, machine)
    if not has_parts(way):
        return dict(step=_counted(way.step))
    parts = PartSteps(way)
    return {
        name: _counted(lambda name=name: parts.run(name))
        for name in parts.names
        if name not in ('target', OPTIMISER)
    }


def _counted(step: Callable[[], object]) -> float:
    with FlopCounterMode(display=False) as counter, plain_attention():
        step()
    return float(counter.get_total_flops())


def time_parts(
    ways: dict[str, Way], machine: Machine, repeats: int, warmup: int
) -> dict[str, dict[str, list[float]]]:
    """Seconds of every part, for each way, in turns."""
    seconds: dict[str, dict[str, list[float]]] = {}
    steps = {name: PartSteps(way) for name, way in ways.items()}
    for part in next(iter(steps.values())).names:
        note(f'speed of the {part}')
        for one in steps.values():
            one.prepare(part)
        seconds[part] = take_turns(
            {name: (lambda one=one, part=part: one.run(part)) for name, one in steps.items()},
            machine,
            repeats,
            warmup,
        )
        for way in ways.values():
            way.model.zero_grad()
    return seconds


def memory_of(name: str, task: Task, machine: Machine) -> Memory:
    """Peak memory of one way; to be called in a process of its own."""
    machine.prepare()
    with warnings_only():
        way = Way(name, task, machine)
    return measure_memory(way.step, machine)


def measure(
    task: Task, machine: Machine, names: Sequence[str], repeats: int, warmup: int, loss_steps: int
) -> dict[str, Any]:
    """Compare, count, time; see the module."""
    device = machine.prepare()
    found: dict[str, Any] = dict(flops=count_flops(task, machine))
    ours = Way(names[0], task, machine)
    ways = {names[0]: ours}
    if len(names) > 1:
        ways[names[1]] = Way(names[1], task, machine, like=ours)
        found['losses'] = compare(ways, loss_steps, machine)
    note('speed of the whole step')
    found['step'] = take_turns(
        {name: way.step for name, way in ways.items()}, machine, repeats, warmup
    )
    if has_parts(ours):
        found['parts'] = time_parts(ways, machine, repeats, warmup)
    # The memory is the other processes' now.
    del ways, ours
    gc.collect()
    if device.type == 'cuda':
        torch.cuda.empty_cache()
    note('the ceiling: a matrix product')
    found['ceiling'] = matmul_ceiling(machine)
    found['memory'] = {}
    for name in names:
        note(f'memory of {name}')
        memory = in_own_process(memory_of, name, task, machine)
        found['memory'][name] = asdict(memory)
    return found


def report(found: dict[str, Any], batch: int) -> str:
    """The figures as tables."""
    names = list(found['step'])
    return '\n\n'.join(
        [
            _step_table(found, names, batch),
            *([_part_table(found, names)] if 'parts' in found else []),
        ]
    )


def _step_table(found: dict[str, Any], names: list[str], batch: int) -> str:
    rows = [
        (
            '',
            'ms a step, median (range)',
            'clips/s',
            'peak memory, MiB',
            'added by the steps, MiB',
            'TFLOP/s',
            'of the ceiling',
        )
    ]
    middles, flops = {}, sum(found['flops'].values()) * batch
    for name in names:
        middles[name] = statistics.median(found['step'][name])
        memory = Memory(**found['memory'][name])
        rate = flops / middles[name]
        rows.append(
            (
                name,
                middle_and_spread([1e3 * one for one in found['step'][name]]),
                f'{batch / middles[name]:.3g}',
                f'{memory.peak:.0f}',
                f'{memory.added:.0f}',
                f'{rate / 1e12:.3g}',
                f'{rate / found["ceiling"]:.0%}',
            )
        )
    if len(names) > 1:
        peak, added = (
            [getattr(Memory(**found['memory'][name]), kind) for name in names]
            for kind in ('peak', 'added')
        )
        rows.append(
            (
                f'{names[0]} / {names[1]}',
                '',
                f'{middles[names[1]] / middles[names[0]]:.2f} x',
                f'{peak[0] / peak[1]:.2f} x',
                f'{added[0] / max(added[1], 1e-9):.2f} x',
                '',
                '',
            )
        )
    return table(rows)


def _part_table(found: dict[str, Any], names: list[str]) -> str:
    header = ['part', 'GFLOP a clip', *(f'{name}, ms' for name in names)]
    if len(names) > 1:
        header.append(f'{names[1]} / {names[0]}')
    rows = [header]
    for part, seconds in found['parts'].items():
        flops = found['flops'].get(part)
        row = [part, f'{flops / 1e9:.1f}' if flops else '']
        row += [middle_and_spread([1e3 * one for one in seconds[name]]) for name in names]
        if len(names) > 1:
            first, second = (statistics.median(seconds[name]) for name in names)
            row.append(f'{second / first:.2f} x')
        rows.append(row)
    total = sum(found['flops'].values())
    rows.append(['together', f'{total / 1e9:.1f}', *[''] * (len(header) - 2)])
    return table(rows)


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config', help='a pre-training config')
    parser.add_argument(
        '--against',
        nargs='+',
        metavar='plain | KEY=VALUE',
        help='the step as it is usually written, or the same config with other options',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        help='change the config, for both ways',
    )
    parser.add_argument('--batch', type=positive, default=2, help='clips (default: 2)')
    parser.add_argument(
        '--loss-steps',
        type=positive,
        default=20,
        help='steps whose losses have to agree first (default: 20)',
    )
    parser.add_argument(
        '--lr', type=float, default=1e-5, help='learning rate of all steps (default: 1e-5)'
    )
    parser.add_argument(
        '--plain-dtype',
        choices=DTYPES,
        help="the plain way's, if another than --dtype (fp16 is scaled)",
    )
    add_machine_arguments(parser)
    args = parser.parse_args(arguments)
    args.other = None
    if args.against and args.against != [PLAIN]:
        wrong = [one for one in args.against if '=' not in one]
        if wrong:
            parser.error(f'--against {wrong[0]} is neither `plain` nor KEY=VALUE')
        args.other = parser.parse_args([args.config, '--cfg-options', *args.against]).cfg_options
    return args


def main(arguments: list[str] | None = None) -> None:
    """Read the command line, measure, print."""
    args = parse_args(arguments)
    task = Task(
        args.config,
        args.cfg_options,
        args.other,
        args.batch,
        args.lr,
        args.plain_dtype or args.dtype,
    )
    names = [OURS]
    if args.against:
        names.append(PLAIN if args.other is None else OTHER)
    try:
        machine = machine_of(args)
        facts = describe(machine)
        for name in names:  # what is wrong with a config shows here
            task.load(name, machine)
        with warnings_only():
            found = measure(task, machine, names, args.repeats, args.warmup, args.loss_steps)
    except (ValueError, OSError, KeyError, UnequalError, NotPlainError) as error:
        sys.exit(f'pretrain_step.py: {error}')
    print(
        f'{Path(args.config).stem}, batch {args.batch}, {args.repeats} '
        'turns each' + (f', against {" ".join(args.against)}' if args.against else '')
    )
    print(', '.join(f'{name}: {value}' for name, value in facts.items()))
    if 'losses' in found:
        print(
            f'losses of {args.loss_steps} steps: largest relative '
            f'difference {largest_difference(found["losses"]):.1e} (limit '
            f'{_TOLERANCE[args.dtype]:.0e})'
        )
    print(f'ceiling, a matrix product in {args.dtype}: {found["ceiling"] / 1e12:.3g} TFLOP/s')
    print()
    print(report(found, args.batch))
    write_figures(args.json, task=asdict(task), machine=facts, **found)


def largest_difference(losses: dict[str, list[float]]) -> float:
    """Of two ways' losses, relative to the first."""
    first, second = losses.values()
    return max(abs(a - b) / abs(a) for a, b in zip(first, second))


if __name__ == '__main__':
    main()
