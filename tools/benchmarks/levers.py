"""Small things in AMD's step, done in two ways: what each is worth alone.

    python tools/benchmarks/levers.py --device cuda --dtype bf16 --batch 64

At the shapes of AMD on 16 x 224 x 224 clips with a ViT-L teacher. Each pair
is compared first; where the results differ by more than rounding, it stops.
The teacher as a CUDA graph is measured on a GPU only.
The larger levers are options of a config: pretrain_step.py --against.
"""

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence

import amd_mm  # noqa: F401, its import-time fixes serve what follows
import torch
from amd_mm.models import AsymmetricTubeMaskGenerator, FrozenTeacher
from amd_mm.models.necks import MaskTokenBlocks
from amd_mm.models.utils import FusedAttention, gather_tokens, patchify, position_table
from amd_mm.utils.quiet import warnings_only
from common import (
    Machine,
    UnequalError,
    add_machine_arguments,
    describe,
    machine_of,
    middle_and_spread,
    note,
    positive,
    table,
    take_turns,
    write_figures,
)
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

GRID, PATCH = (8, 14, 14), (2, 16, 16)
_MEAN, _STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
_TEACHER_TAPS = (12, 24)
_TOLERANCE = dict(fp32=1e-4, fp16=2e-2, bf16=5e-2)
Ways = dict[str, Callable[[], Sequence[Tensor]]]


class Case:
    """What the pairs work on.

    Args:
        batch (int): Clips.
        width (int): Of the teacher and so of the generators.
        depth (int): Blocks of a generator.
        device (torch.device): Where.
    """

    def __init__(self, batch: int, width: int, depth: int, device: torch.device) -> None:
        torch.manual_seed(0)
        self.width, self.depth, self.device = width, depth, device
        self.partition = AsymmetricTubeMaskGenerator(0.9, 0.75, seed=0)(batch, GRID, device)
        shape = (batch, *(g * p for g, p in zip(GRID, PATCH)), 3)
        clips = torch.randint(0, 256, shape, dtype=torch.uint8)
        self.clips = clips.to(device).movedim(-1, 1)
        self.visible = torch.randn(2, batch, self.partition.visible.shape[1], width, device=device)

    def generator(self) -> MaskTokenBlocks:
        """With random weights."""
        blocks = MaskTokenBlocks(self.width, self.depth, max(self.width // 64, 1), GRID)
        blocks.init_weights()
        return blocks.to(self.device)


def generators(case: Case) -> Ways:
    """Two layers' generators, forward and backward."""
    one, other = case.generator(), case.generator()
    stacked, tables = stack_module_state([one, other])
    ids = case.partition.visible, case.partition.teacher_only

    def fill_in(weights: dict, fixed: dict, tokens: Tensor) -> Tensor:
        return functional_call(_FillIn(one), (_inside(weights), _inside(fixed)), (tokens, *ids))

    weights = [list(module.parameters()) for module in (one, other)]

    def in_turn() -> Sequence[Tensor]:
        made = torch.stack(
            [blocks.fill_in(tokens, *ids) for blocks, tokens in zip((one, other), case.visible)]
        )
        gradients = _gradients(made, [*weights[0], *weights[1]])
        return [made, torch.stack([gradients[0], gradients[len(weights[0])]])]

    def batched() -> Sequence[Tensor]:
        made = torch.vmap(fill_in)(stacked, tables, case.visible)
        return [made, _gradients(made, list(stacked.values()))[0]]

    return {'one after the other': in_turn, 'batched over the layers': batched}


class _FillIn(nn.Module):
    """``fill_in`` as ``forward``, which ``functional_call`` asks for."""

    def __init__(self, blocks: MaskTokenBlocks) -> None:
        super().__init__()
        self.blocks = blocks

    def forward(self, tokens: Tensor, seen: Tensor, wanted: Tensor) -> Tensor:
        return self.blocks.fill_in(tokens, seen, wanted)


def _inside(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f'blocks.{name}': value for name, value in state.items()}


def _gradients(made: Tensor, inputs: list[Tensor]) -> Sequence[Tensor]:
    return torch.autograd.grad(made.float().square().mean(), inputs)


def bias(case: Case) -> Ways:
    """Attention of the teacher's tokens: its bias put together per call."""
    attention = FusedAttention(case.width, max(case.width // 64, 1))
    for parameter in attention.parameters():
        nn.init.normal_(parameter, std=0.02)
    whole = FusedAttention(case.width, max(case.width // 64, 1), key_bias=True)
    state = attention.state_dict()
    query, value = state.pop('q_bias'), state.pop('v_bias')
    state['qkv.bias'] = torch.cat([query, torch.zeros_like(query), value])
    whole.load_state_dict(state)
    attention.to(case.device), whole.to(case.device)
    tokens = torch.cat([case.visible[0], case.visible[1]], 1)

    @torch.no_grad()
    def run(module: FusedAttention) -> Sequence[Tensor]:
        return [module(tokens)]

    return {'per call': lambda: run(attention), 'once': lambda: run(whole)}


def pixels(case: Case) -> Ways:
    """From uint8 clips to the patches of teacher, student and target."""
    mean, std = (
        torch.tensor(values, device=case.device).view(-1, 1, 1, 1) for values in (_MEAN, _STD)
    )
    per_value = PATCH[0] * PATCH[1] * PATCH[2]
    flat = [one.flatten().repeat_interleave(per_value) for one in (mean, std)]
    wanted = case.partition.teacher, case.partition.targets

    def whole_clip() -> Sequence[Tensor]:
        patches = patchify(case.clips.sub(mean).div_(std), PATCH)
        return [
            *(gather_tokens(patches, ids) for ids in wanted),
            gather_tokens(patches, case.partition.visible),
        ]

    def needed_patches() -> Sequence[Tensor]:
        patches = patchify(case.clips, PATCH)
        teacher, target = (gather_tokens(patches, ids).sub(flat[0]).div_(flat[1]) for ids in wanted)
        return [teacher, target, teacher[:, : case.partition.visible.shape[1]]]

    return {'normalise whole clips': whole_clip, 'gather uint8, normalise those': needed_patches}


def positions(case: Case) -> Ways:
    """The decoder's positions of the tokens that it is asked for."""
    places = position_table(GRID, case.width // 2).to(case.device)
    token = torch.randn(1, 1, case.width // 2, device=case.device)
    ids = case.partition.targets

    def index() -> Sequence[Tensor]:
        return [token + places[0][ids]]

    def expand() -> Sequence[Tensor]:
        return [token.expand(*ids.shape, -1) + gather_tokens(places.repeat(len(ids), 1, 1), ids)]

    return {'index one table': index, 'a table for each clip': expand}


def teacher(case: Case) -> Ways:
    """A frozen ViT-L on what it sees: called, and replayed as a CUDA graph."""
    module = FrozenTeacher(
        backbone=dict(
            type='amd_mm.VideoVisionTransformer',
            embed_dims=case.width,
            depth=_TEACHER_TAPS[-1],
            num_heads=max(case.width // 64, 1),
        ),
        layers=_TEACHER_TAPS,
        dtype='bfloat16',
        random_init=True,
    ).to(case.device)
    patches = patchify(case.clips.float().div_(255), PATCH)
    ids = case.partition.teacher

    def call() -> Sequence[Tensor]:
        return module(patches, ids)

    return {'called': call, 'replayed as a CUDA graph': graph_of(call)}


def graph_of(call: Callable[[], Sequence[Tensor]]) -> Callable:
    """Record the kernels of a call, which reads and writes the same memory.

    Args:
        call (Callable): Without arguments; what it reads stays in place.

    Returns:
        Callable: Runs the kernels again; the same tensors come back.
    """
    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(3):  # libraries set themselves up in the first calls
            call()
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        made = call()

    def replay() -> Sequence[Tensor]:
        graph.replay()
        return made

    return replay


PAIRS: dict[str, Callable[[Case], Ways]] = {
    'generators': generators,
    'bias of query, key and value': bias,
    'pixels': pixels,
    'positions': positions,
}
GPU_PAIRS: dict[str, Callable[[Case], Ways]] = {'frozen teacher': teacher}


def compare(name: str, ways: Ways, machine: Machine) -> float:
    """The largest difference relative to the largest value.

    Raises:
        UnequalError: If it is beyond rounding.
    """
    with machine.autocast():
        first, second = (way() for way in ways.values())
    worst = 0.0
    for one, other in zip(first, second, strict=True):
        difference = (one.float() - other.float()).abs().max()
        worst = max(worst, (difference / one.float().abs().max()).item())
    if not worst <= _TOLERANCE[machine.dtype]:
        raise UnequalError(
            f'{name}: {" and ".join(ways)} differ by '
            f'{worst:.1e} of the largest value; nothing was '
            'timed'
        )
    return worst


def measure(
    case: Case, machine: Machine, repeats: int, warmup: int
) -> dict[str, dict[str, list[float]]]:
    """Seconds of every way of every pair."""
    found = {}
    pairs = {**PAIRS, **GPU_PAIRS} if case.device.type == 'cuda' else PAIRS
    for name, build in pairs.items():
        ways = build(case)
        note(f'{name}: largest difference {compare(name, ways, machine):.1e}')

        def in_context(way: Callable) -> Callable:

            def run() -> None:
                with machine.autocast():
                    way()

            return run

        found[name] = take_turns(
            {key: in_context(way) for key, way in ways.items()}, machine, repeats, warmup
        )
    return found


def report(found: dict[str, dict[str, list[float]]]) -> str:
    """The figures as a table."""
    rows = [('what', 'way', 'ms, median (range)', 'first / second')]
    for name, ways in found.items():
        first, second = (statistics.median(values) for values in ways.values())
        for number, (way, values) in enumerate(ways.items()):
            rows.append(
                (
                    name if number == 0 else '',
                    way,
                    middle_and_spread([1e3 * value for value in values], 2),
                    f'{first / second:.2f} x' if number else '',
                )
            )
    return table(rows)


def main(arguments: list[str] | None = None) -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--batch', type=positive, default=2, help='clips (default: 2)')
    parser.add_argument(
        '--width', type=positive, default=1024, help="the teacher's, of a ViT-L (default: 1024)"
    )
    parser.add_argument(
        '--depth', type=positive, default=2, help='blocks of a generator (default: 2)'
    )
    add_machine_arguments(parser)
    args = parser.parse_args(arguments)
    try:
        machine = machine_of(args)
        facts = describe(machine)
        with warnings_only():
            case = Case(args.batch, args.width, args.depth, machine.prepare())
            found = measure(case, machine, args.repeats, args.warmup)
    except (ValueError, UnequalError) as error:
        sys.exit(f'levers.py: {error}')
    print(f'batch {args.batch}, width {args.width}, {args.repeats} turns each')
    print(', '.join(f'{name}: {value}' for name, value in facts.items()))
    print()
    print(report(found))
    write_figures(args.json, machine=facts, seconds=found)


if __name__ == '__main__':
    main()
