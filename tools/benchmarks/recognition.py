"""Compare the backbone's fused attention with MMAction2's backbone.

    python tools/benchmarks/recognition.py --size base --device cuda

A video ViT with a linear classifier: one step of training (forward, backward, AdamW) and of
testing (forward), with `mmaction.VisionTransformer` and with `amd_mm.VideoVisionTransformer`, on
the same clips and weights. Nothing is timed unless outputs and gradients agree.
"""

import argparse
import sys
from collections.abc import Callable

import _venv  # noqa: F401, first: finds the packages
import amd_mm  # noqa: F401, its import-time fixes come first
import common
import torch
import torch.nn.functional as F
from amd_mm.registry import MODELS
from torch import Tensor, nn

FUSED, STOCK = 'fused', 'stock'
TYPES = {FUSED: 'amd_mm.VideoVisionTransformer', STOCK: 'mmaction.VisionTransformer'}
SIZES = dict(
    tiny=dict(embed_dims=192, depth=12, num_heads=3),
    small=dict(embed_dims=384, depth=12, num_heads=6),
    base=dict(embed_dims=768, depth=12, num_heads=12),
    large=dict(embed_dims=1024, depth=24, num_heads=16),
)
TOLERANCE = dict(fp32=1e-4, fp16=2e-2, bf16=1e-1)  # of the largest absolute value
CLASSES = 400


def build_model(name: str, args: argparse.Namespace) -> nn.Module:
    """Backbone and linear classifier with random weights."""
    torch.manual_seed(0)
    options = dict(compile_blocks=True) if name == FUSED and args.compile else {}
    backbone = MODELS.build(
        dict(
            type=TYPES[name],
            img_size=args.side,
            num_frames=args.frames,
            **SIZES[args.size],
            **options,
        )
    )
    model = nn.Sequential(backbone, nn.Linear(backbone.embed_dims, CLASSES))
    # Parameters that start at zero or one would hide an error in a bias or a norm.
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.02)
    return model.to(args.device)


def make_clips(args: argparse.Namespace) -> Tensor:
    """Random clips (B, 3, T, H, W), always the same."""
    generator = torch.Generator().manual_seed(0)
    shape = (args.batch, 3, args.frames, args.side, args.side)
    return torch.randn(shape, generator=generator).to(args.device)


def run_test(model: nn.Module, clips: Tensor, args: argparse.Namespace) -> Tensor:
    """The classifier's outputs, without gradient."""
    with torch.no_grad(), common.autocast(args.device, args.dtype):
        return model(clips)


def run_backward(model: nn.Module, clips: Tensor, args: argparse.Namespace) -> None:
    """Forward and backward pass of a classification loss."""
    labels = torch.arange(len(clips), device=clips.device)
    with common.autocast(args.device, args.dtype):
        loss = F.cross_entropy(model(clips), labels)
    loss.backward()


def make_step(
    model: nn.Module, clips: Tensor, mode: str, args: argparse.Namespace
) -> Callable[[], object]:
    """A step of training or testing."""
    model.train(mode == 'train')
    if mode == 'test':
        return lambda: run_test(model, clips, args)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)

    def step() -> None:
        optimizer.zero_grad()
        run_backward(model, clips, args)
        optimizer.step()

    return step


def compare(models: dict[str, nn.Module], clips: Tensor, args: argparse.Namespace) -> dict:
    """The largest difference of outputs and gradients, relative to their largest value.

    Raises:
        UnequalError: If one is larger than rounding explains.
    """
    values: dict[str, list[Tensor]] = dict(outputs=[], gradients=[])
    for model in models.values():
        values['outputs'].append(run_test(model, clips, args).float())
        run_backward(model, clips, args)
        parameters = sorted(model.named_parameters(), key=lambda item: item[0])
        values['gradients'].append(torch.cat([p.grad.flatten() for _, p in parameters]))
        model.zero_grad()
    differences, limit = {}, TOLERANCE[args.dtype]
    for name, (one, other) in values.items():
        differences[name] = ((one - other).abs().max() / one.abs().max()).item()
        if not differences[name] <= limit:
            raise common.UnequalError(
                f'the {name} of {" and ".join(models)} differ by {differences[name]:.2e} of the '
                f'largest value, more than rounding in {args.dtype} ({limit:g}); nothing was timed'
            )
    return differences


def memory_of(name: str, mode: str, args: argparse.Namespace) -> dict:
    """Peak memory of one backbone, to be called in a new process."""
    device = common.prepare_device(args)
    step = make_step(build_model(name, args), make_clips(args), mode, args)
    return common.measure_memory(step, device)


def measure(args: argparse.Namespace) -> dict:
    """Compare, then measure time and memory; see the module."""
    models = {name: build_model(name, args) for name in TYPES}
    models[FUSED].load_state_dict(models[STOCK].state_dict())
    clips = make_clips(args)
    found = dict(differences=compare(models, clips, args), seconds={}, memory={})
    for mode in args.modes:
        common.log(f'{mode}: time')
        steps = {name: make_step(model, clips, mode, args) for name, model in models.items()}
        found['seconds'][mode] = common.time_in_turns(steps, args)
    del models, steps, clips  # the other processes need the memory
    torch.cuda.empty_cache()
    for mode in args.modes:
        common.log(f'{mode}: memory')
        memory = {name: common.in_new_process(memory_of, name, mode, args) for name in TYPES}
        found['memory'][mode] = memory
    return found


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add('--size', choices=SIZES, default='base', help='of the ViT (default: base)')
    add('--modes', nargs='+', choices=('train', 'test'), default=['train', 'test'])
    add('--batch', type=common.positive, default=1, help='clips (default: 1)')
    add('--frames', type=common.positive, default=16, help='(default: 16)')
    add('--side', type=common.positive, default=224, help='frame height and width (default: 224)')
    add('--compile', action='store_true', help='set compile_blocks=True in our backbone')
    common.add_device_arguments(parser)
    common.add_timing_arguments(parser)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Read the command line, measure and print."""
    args = parse_args(arguments)
    try:
        common.prepare_device(args)
        facts = common.describe_machine(args.device, args.dtype)
        found = measure(args)
    except ValueError as error:
        sys.exit(f'recognition.py: {error}')
    tokens = args.frames // 2 * (args.side // 16) ** 2
    compiled = ', compiled' if args.compile else ''
    print(f'ViT-{args.size}{compiled}, {tokens} tokens, batch {args.batch}, {args.repeats} runs')
    print(', '.join(f'{name}: {value}' for name, value in facts.items()))
    for name, difference in found['differences'].items():
        print(f'{name}: largest relative difference {difference:.1e}')
    for mode in args.modes:
        rows = common.comparison_table(found['seconds'][mode], found['memory'][mode], args.batch)
        rows[0][0] = mode
        print(f'\n{common.table(rows)}')
    common.write_json(args.json, dict(machine=facts, command=sys.argv, **found))


if __name__ == '__main__':
    main()
