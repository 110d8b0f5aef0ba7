"""The backbone's fused attention against MMAction2's own backbone.

    python tools/benchmarks/recognition.py --size base --device cuda

One step of training (forward, backward, AdamW) and of testing (forward
without gradient) of a video ViT with a linear classifier, once with
`mmaction.VisionTransformer` and once with `amd_mm.VideoVisionTransformer`, on
the same clips and weights. First outputs and gradients are compared: beyond
the tolerance nothing is timed.
"""

import argparse
import statistics
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass

import amd_mm  # noqa: F401, its import-time fixes serve what follows
import torch
import torch.nn.functional as F
from amd_mm.registry import MODELS
from common import (
    Machine,
    Memory,
    UnequalError,
    add_machine_arguments,
    describe,
    in_own_process,
    machine_of,
    measure_memory,
    middle_and_spread,
    note,
    positive,
    table,
    take_turns,
    write_figures,
)
from torch import Tensor, nn

STOCK, FUSED = 'stock', 'fused'
TYPES = {STOCK: 'mmaction.VisionTransformer', FUSED: 'amd_mm.VideoVisionTransformer'}
SIZES = dict(
    tiny=dict(embed_dims=192, depth=12, num_heads=3),
    small=dict(embed_dims=384, depth=12, num_heads=6),
    base=dict(embed_dims=768, depth=12, num_heads=12),
    large=dict(embed_dims=1024, depth=24, num_heads=16),
)
_TRAIN, _TEST = 'train', 'test'
# Of the largest value: what rounding explains, with a margin.
_TOLERANCE = dict(fp32=1e-4, fp16=2e-2, bf16=1e-1)
_CLASSES = 400


@dataclass(frozen=True)
class Task:
    """What is computed.

    Attributes:
        size (str): One of ``SIZES``.
        batch (int): Clips a step.
        frames (int): Frames of a clip.
        side (int): Height and width of a frame, pixels.
        compiled (bool): Whether ours has ``compile_blocks=True``.
    """

    size: str
    batch: int
    frames: int
    side: int
    compiled: bool = False

    @property
    def tokens(self) -> int:
        """Tokens of a clip: tubes of 2 x 16 x 16."""
        return self.frames // 2 * (self.side // 16) ** 2

    def clips(self, device: torch.device) -> Tensor:
        """(B, 3, T, H, W), normally distributed, always the same."""
        generator = torch.Generator().manual_seed(0)
        shape = (self.batch, 3, self.frames, self.side, self.side)
        return torch.randn(shape, generator=generator).to(device)


def build(way: str, task: Task, device: torch.device) -> nn.Module:
    """Backbone and linear classifier, with random weights."""
    torch.manual_seed(0)
    options = dict(compile_blocks=True) if way == FUSED and task.compiled else {}
    backbone = MODELS.build(
        dict(
            type=TYPES[way],
            img_size=task.side,
            num_frames=task.frames,
            **SIZES[task.size],
            **options,
        )
    )
    model = nn.Sequential(backbone, nn.Linear(backbone.embed_dims, _CLASSES))
    # Zeros and ones would hide a bias or a norm in the wrong place.
    for param in model.parameters():
        param.data.add_(torch.randn_like(param) * 0.02)
    return model.to(device)


def make_step(model: nn.Module, clips: Tensor, mode: str, machine: Machine) -> Callable[[], object]:
    """A step of training or of testing."""
    model.train(mode == _TRAIN)
    if mode == _TEST:
        return lambda: _test(model, clips, machine)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)

    def step() -> None:
        optimizer.zero_grad()
        _loss(model, clips, machine).backward()
        optimizer.step()

    return step


@torch.no_grad()
def _test(model: nn.Module, clips: Tensor, machine: Machine) -> Tensor:
    with machine.autocast():
        return model(clips)


def _loss(model: nn.Module, clips: Tensor, machine: Machine) -> Tensor:
    labels = torch.arange(len(clips), device=clips.device)
    with machine.autocast():
        return F.cross_entropy(model(clips), labels)


def compare(
    models: dict[str, nn.Module], clips: Tensor, modes: list[str], machine: Machine
) -> dict[str, dict[str, float]]:
    """See that both backbones compute the same.

    Args:
        models (Dict[str, nn.Module]): Way -> model; same weights.
        clips (Tensor): (B, 3, T, H, W).
        modes (List[str]): With ``train`` gradients are compared as well.
        machine (Machine): Where; its dtype decides the tolerance.

    Returns:
        Dict[str, Dict[str, float]]: What was compared -> the largest absolute
        ``difference``, the ``largest`` absolute value, and the ``limit`` of
        the difference.

    Raises:
        UnequalError: If a difference is beyond its limit, or not a number.
    """
    values = dict(outputs=[_test(m, clips, machine) for m in models.values()])
    if _TRAIN in modes:
        values['gradients'] = [_gradients(model, clips, machine) for model in models.values()]
    found = {}
    for name, (one, other) in values.items():
        largest = one.abs().max().item()
        found[name] = dict(
            difference=(one.float() - other.float()).abs().max().item(),
            largest=largest,
            limit=_TOLERANCE[machine.dtype] * largest,
        )
    for name, row in found.items():
        if not row['difference'] <= row['limit']:
            raise UnequalError(
                f'the {name} of {" and ".join(models)} differ by '
                f'{row["difference"]:.2e}; up to {row["limit"]:.2e} is '
                f'rounding in {machine.dtype}. Nothing was timed'
            )
    return found


def _gradients(model: nn.Module, clips: Tensor, machine: Machine) -> Tensor:
    """All gradients in one line, by the parameters' names."""
    _loss(model, clips, machine).backward()
    lines = [param.grad.flatten() for _, param in _by_name(model)]
    model.zero_grad()
    return torch.cat(lines)


def _by_name(model: nn.Module) -> list:
    return sorted(model.named_parameters(), key=lambda item: item[0])


def memory_of(way: str, task: Task, mode: str, machine: Machine) -> Memory:
    """What steps of one way need; called in a process of its own."""
    device = machine.prepare()
    step = make_step(build(way, task, device), task.clips(device), mode, machine)
    return measure_memory(step, machine)


def measure(task: Task, modes: list[str], machine: Machine, repeats: int, warmup: int) -> dict:
    """Compare, then measure memory and speed.

    Returns:
        dict: ``equality``, see :func:`compare`, and ``figures``: mode -> way
        -> ``seconds`` (of every timed step) and ``memory`` (MiB).

    Raises:
        UnequalError: See :func:`compare`.
    """
    device = machine.prepare()
    clips = task.clips(device)
    models = {way: build(way, task, device) for way in (STOCK, FUSED)}
    models[FUSED].load_state_dict(models[STOCK].state_dict(), strict=True)
    equality = compare(models, clips, modes, machine)
    for name, row in equality.items():
        note(
            f'{name} are equal: largest difference {row["difference"]:.1e}, '
            f'limit {row["limit"]:.1e}, largest value {row["largest"]:.1e}'
        )
    figures = {}
    for mode in modes:
        note(f'{mode}: speed')
        steps = {way: make_step(model, clips, mode, machine) for way, model in models.items()}
        seconds = take_turns(steps, machine, repeats, warmup)
        figures[mode] = {way: dict(seconds=seconds[way]) for way in models}
    # The memory is the other processes' now.
    del models, steps, clips
    if device.type == 'cuda':
        torch.cuda.empty_cache()
    for mode in modes:
        for way in (STOCK, FUSED):
            note(f'{mode}: memory of {way}')
            memory = in_own_process(memory_of, way, task, mode, machine)
            figures[mode][way]['memory'] = asdict(memory)
    return dict(equality=equality, figures=figures)


def report(figures: dict, batch: int) -> str:
    """The figures as a table."""
    rows = [
        ('', 'ms a step, median (range)', 'clips/s', 'peak memory, MiB', 'added by the steps, MiB')
    ]
    for mode, ways in figures.items():
        middles, memories = {}, {}
        for way, row in ways.items():
            middles[way] = statistics.median(row['seconds'])
            memories[way] = memory = Memory(**row['memory'])
            rows.append(
                (
                    f'{mode}, {way}',
                    middle_and_spread([1e3 * s for s in row['seconds']]),
                    f'{batch / middles[way]:.3g}',
                    f'{memory.peak:.0f}',
                    f'{memory.added:.0f}',
                )
            )
        speed = middles[STOCK] / middles[FUSED]
        peak = memories[FUSED].peak / memories[STOCK].peak
        added = memories[FUSED].added / max(memories[STOCK].added, 1e-9)
        rows.append(
            (f'{mode}, fused / stock', '', f'{speed:.2f} x', f'{peak:.2f} x', f'{added:.2f} x')
        )
    return table(rows)


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--size', choices=SIZES, default='base', help='ViT (default: base)')
    parser.add_argument(
        '--modes',
        nargs='+',
        choices=(_TRAIN, _TEST),
        default=[_TRAIN, _TEST],
        help='(default: both)',
    )
    parser.add_argument('--batch', type=positive, default=1, help='clips (default: 1)')
    parser.add_argument('--frames', type=positive, default=16, help='(default: 16)')
    parser.add_argument(
        '--side', type=positive, default=224, help='height and width of a frame (default: 224)'
    )
    parser.add_argument('--compile', action='store_true', help='ours with compile_blocks=True')
    add_machine_arguments(parser)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Read the command line, measure, print."""
    args = parse_args(arguments)
    task = Task(args.size, args.batch, args.frames, args.side, args.compile)
    try:
        machine = machine_of(args)
        facts = describe(machine)
        found = measure(task, args.modes, machine, args.repeats, args.warmup)
    except (ValueError, UnequalError) as error:
        sys.exit(f'recognition.py: {error}')
    print(
        f'ViT-{task.size}, {task.tokens} tokens ({task.frames} x '
        f'{task.side} x {task.side}), batch {task.batch}, '
        f'{args.repeats} turns each' + (', ours compiled' if task.compiled else '')
    )
    print(', '.join(f'{name}: {value}' for name, value in facts.items()))
    for name, row in found['equality'].items():
        print(f'{name}: largest difference {row["difference"]:.1e} (limit {row["limit"]:.1e})')
    print()
    print(report(found['figures'], task.batch))
    write_figures(args.json, task=asdict(task), tokens=task.tokens, machine=facts, **found)


if __name__ == '__main__':
    main()
