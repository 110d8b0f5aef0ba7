"""Compute what a training step costs, without a GPU: FLOPs, memory, days.

    python tools/benchmarks/cost.py CONFIG
    python tools/benchmarks/cost.py CONFIG CONFIG ...      # one row each, to compare methods

The step runs on PyTorch's meta device in its true size: every operator computes shapes alone.
Nothing is measured. Speed is a share of the card's published peak, as `--utilisation` says.
A detector's heads are left out: they are small, and their shapes depend on values.
"""

import argparse
import logging
import math
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import _venv  # noqa: F401, first: finds the packages
import amd_mm  # noqa: F401, its import-time fixes come first
import common
import torch
from amd_mm.models.meta import PARTS, Meter, build_on_meta, meter_step, part_of
from amd_mm.models.teachers import teacher_configs
from mmengine.config import Config, DictAction
from pretrain_step import batch_of, is_pretraining, synthetic_inputs
from torch import nn

# Published peaks of dense bfloat16 products, FLOP/s, and memory, bytes.
CARDS = {'A100 80 GB': (312e12, 80e9), 'H100 80 GB': (989e12, 80e9), 'H200 141 GB': (989e12, 141e9)}
# Training videos or images, by the end of the config's name.
SAMPLES = {'sthv2': 168_913, 'k400': 240_436, 'in1k': 1_281_167}
RESERVED = 0.1  # share of the memory that is left to CUDA and fragmentation
FILM = 4 / 3  # width to height, where a config gives the short side of its clips only


@dataclass(frozen=True)
class Cost:
    """What a step costs.

    Attributes:
        flops: FLOPs of one clip's step, by part.
        saved: Bytes that one clip keeps until its backward pass, by part.
        parameters: Number of parameters, by part.
        constant: Bytes that do not grow with the batch: weights in float32 and bfloat16, gradients,
            AdamW's two moments, and the teacher.
    """

    flops: Counter[str]
    saved: Counter[str]
    parameters: dict[str, int]
    constant: float

    def largest_batch(self, memory: float) -> int:
        """Clips per step that fit into the memory of a card."""
        return max(int((memory * (1 - RESERVED) - self.constant) / self.saved.total()), 0)


def compute(cfg: Config) -> Cost:
    """The cost of a clip (or an image) of a config that trains a ViT of this package.

    Raises:
        ValueError: If the backbone is another one.
    """
    model = build_on_meta(cfg).to('meta').train()
    if not hasattr(getattr(model, 'backbone', None), 'token_grid'):
        raise ValueError(f'{cfg.model.type} has no ViT of this package as backbone')
    one, two = meter(model, cfg, 1), meter(model, cfg, 2)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    saved = two.saved - one.saved
    constant = 16 * trained + (one.saved - saved).total()  # weight, gradient and two moments
    modules = {part: part_of(model, part) for part in PARTS}
    parameters = {
        part: sum(p.numel() for p in module.parameters())
        for part, module in modules.items()
        if isinstance(module, nn.Module)
    }
    if teacher := parameters.get('teacher'):
        half = all(one.get('dtype') == 'bfloat16' for one in teacher_configs(cfg.model))
        constant += teacher * (2 if half else 4)
    return Cost(one.flops, saved, parameters, constant)


def meter(model: nn.Module, cfg: Config, batch: int) -> Meter:
    """Run a step of ``batch`` clips on the meta device."""
    if is_pretraining(cfg):
        inputs = synthetic_inputs(model, batch).to('meta')
        return meter_step(model, batch_of(model, inputs))
    shape = (batch, model.backbone.in_channels, *clip_size(cfg, model.backbone))
    return meter_step(model, dict(inputs=torch.empty(shape, device='meta')))


def clip_size(cfg: Config, backbone: nn.Module) -> list[int]:
    """(T, H, W) of a clip or (H, W) of an image; AVA's clips are whole frames of a short side."""
    pairs = zip(backbone.token_grid, backbone.patch_shape)
    size = [tokens * side for tokens, side in pairs][5 - backbone.input_dims :]
    scales = [one.get('scale') for one in cfg.train_dataloader.dataset.get('pipeline', [])]
    for scale in scales:
        if isinstance(scale, (list, tuple)) and -1 in scale:
            width = backbone.patch_shape[-1]
            size[-2:] = max(scale), math.ceil(max(scale) * FILM / width) * width
    return size


def training_clips(cfg: Config, samples: int) -> int:
    """Clips (or images) of a whole training: epochs x samples x views."""
    pipeline = cfg.train_dataloader.dataset.get('pipeline', [])
    views = [one.get('num_views') for one in pipeline if isinstance(one.get('num_views'), int)]
    return cfg.train_cfg.max_epochs * samples * (views[0] if views else 1)


def report(name: str, cfg: Config, cost: Cost, args: argparse.Namespace) -> str:
    """The cost of one config as Markdown."""
    rows = [['part', 'parameters', 'GFLOP per clip', 'share', 'activations per clip, MiB']]
    total = cost.flops.total()
    for part in [*PARTS, 'rest']:
        flops, saved = cost.flops[part], cost.saved[part]
        if flops or saved:
            size = f'{cost.parameters[part] / 1e6:.1f} M' if cost.parameters.get(part) else ''
            row = [f'{flops / 1e9:.1f}', f'{flops / total:.0%}', f'{saved / common.MIB:.1f}']
            rows.append([part, size, *row])
    size = f'{sum(cost.parameters.values()) / 1e6:.1f} M'
    rows.append(['step', size, f'{total / 1e9:.1f}', '', f'{cost.saved.total() / common.MIB:.1f}'])
    samples = args.samples or samples_of(name)
    clips = training_clips(cfg, samples) if samples else None
    head = ['card', 'clips that fit']
    for share in args.utilisation:
        head += [f'clips/s at {share:g} %', *(['days'] if clips else [])]
    cards = [head]
    for card, (peak, memory) in CARDS.items():
        row = [f'{args.gpus} x {card}', f'{cost.largest_batch(memory)} per GPU']
        for share in args.utilisation:
            speed = args.gpus * peak * share / 100 / total
            row += [f'{speed:.0f}', *([f'{clips / speed / 86400:.2g}'] if clips else [])]
        cards.append(row)
    lines = [f'## {name}', '', common.table(rows), '']
    lines += [f'Independent of the batch: {cost.constant / common.MIB:.0f} MiB.', '']
    if clips:
        epochs = cfg.train_cfg.max_epochs
        lines += [
            f'{epochs} epochs of {samples} samples: {clips / 1e6:.1f} M clips, '
            f'{clips * total / 1e18:.1f} EFLOP.',
            '',
        ]
    return '\n'.join([*lines, common.table(cards), ''])


def samples_of(name: str) -> int | None:
    """Size of the data set that a config's name ends with, if it is known."""
    return next((size for key, size in SAMPLES.items() if name.endswith(key)), None)


def comparison(costs: dict[str, Cost]) -> str:
    """One row for each config."""
    parts = [part for part in [*PARTS, 'rest'] if any(cost.flops[part] for cost in costs.values())]
    rows = [['config', *(f'{part}, GFLOP' for part in parts), 'step, GFLOP', 'MiB per clip']]
    for name, cost in costs.items():
        values = [cost.flops[part] for part in parts] + [cost.flops.total()]
        memory = f'{cost.saved.total() / common.MIB:.0f}'
        rows.append([name, *(f'{value / 1e9:.1f}' for value in values), memory])
    return common.table(rows)


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add('configs', nargs='+', metavar='CONFIG', help='configs that train')
    add('--cfg-options', nargs='+', action=DictAction, default={}, help='changes to the configs')
    add('--gpus', type=common.positive, default=8, help='number of cards')
    add('--samples', type=common.positive, help='size of the data set (default: by the name)')
    add('--utilisation', type=float, nargs='+', default=[35, 45, 55], help='percent of the peak')
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, compute and print."""
    args = parse_args(arguments)
    logging.disable(logging.INFO)
    costs = {}
    for path in args.configs:
        try:
            cfg = Config.fromfile(path)
            cfg.merge_from_dict(args.cfg_options)
            costs[Path(path).stem] = cost = compute(cfg)
        except (OSError, ValueError, KeyError) as error:
            sys.exit(f'cost.py: {path}: {error}')
        if len(args.configs) == 1:
            print(report(Path(path).stem, cfg, cost, args))
    if len(costs) > 1:
        print(comparison(costs))


if __name__ == '__main__':
    main()
