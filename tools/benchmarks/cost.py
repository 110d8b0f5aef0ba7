"""Compute what a step of pre-training costs, without a GPU: FLOPs, memory, days.

    python tools/benchmarks/cost.py CONFIG
    python tools/benchmarks/cost.py CONFIG CONFIG ...      # one row each, to compare methods

The step runs on PyTorch's meta device in its true size: every operator computes shapes alone.
Nothing is measured. Speed is a share of the card's published peak, as `--utilisation` says.
"""

import argparse
import logging
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import _venv  # noqa: F401, first: finds the packages
import amd_mm  # noqa: F401, its import-time fixes come first
import common
import torch
import torch.nn.functional as F
from amd_mm.models.meta import build_on_meta
from amd_mm.models.teachers import teacher_configs
from mmengine.config import Config, DictAction
from pretrain_step import batch_of, pretraining_config, synthetic_inputs
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map
from torch.utils.flop_counter import flop_registry

# Published peaks of dense bfloat16 products, FLOP/s, and memory, bytes.
CARDS = {'A100 80 GB': (312e12, 80e9), 'H100 80 GB': (989e12, 80e9), 'H200 141 GB': (989e12, 141e9)}
# Training videos or images, by the end of the config's name.
SAMPLES = {'sthv2': 168_913, 'k400': 240_436, 'in1k': 1_281_167}
RESERVED = 0.1  # share of the memory that is left to CUDA and fragmentation
PARTS = dict(student='backbone', teacher='teacher', neck='neck', decoder='decoder', head='head')


class FlashBfloat16(TorchFunctionMode):
    """Autocast to bfloat16 and fused attention, neither of which the meta device has."""

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        if func is F.scaled_dot_product_attention:
            query, key, value = (to_bfloat16(one) for one in args[:3])
            return torch.ops.aten._scaled_dot_product_flash_attention(query, key, value)[0]
        if func is F.linear:
            args, kwargs = tree_map(to_bfloat16, (args, kwargs or {}))
        return func(*args, **(kwargs or {}))


def to_bfloat16(value: Any) -> Any:
    """Cast a floating-point tensor; other values stay."""
    return value.bfloat16() if isinstance(value, Tensor) and value.is_floating_point() else value


class Meter(TorchDispatchMode):
    """Counts the FLOPs of each part of a model, and the bytes that it saves for its backward pass.

    Args:
        model: An algorithm that pre-trains.

    Attributes:
        flops: FLOPs of the forward and backward pass, by part; a multiply-add counts as two.
        saved: Bytes by part. A tensor that several operators save counts once.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.part = 'rest'
        self.flops: Counter[str] = Counter()
        self.saved: Counter[str] = Counter()
        # Tensors are kept, so that no address is used twice. Weights are not activations.
        self._storages = {one.untyped_storage()._cdata: one for one in model.parameters()}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if (count := flop_registry.get(func._overloadpacket)) is not None:
            self.flops[self.part] += count(*args, **(kwargs or {}), out_val=out)
        return out

    def pack(self, tensor: Tensor) -> tuple[Tensor, str]:
        """Count a tensor that the backward pass needs, and remember whose it is."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self._storages:
            self._storages[storage._cdata] = tensor
            self.saved[self.part] += storage.nbytes()
        return tensor, self.part

    def unpack(self, packed: tuple[Tensor, str]) -> Tensor:
        """What follows in the backward pass belongs to the part that saved the tensor."""
        tensor, self.part = packed
        return tensor

    @contextmanager
    def parts(self) -> Iterator[None]:
        """Within, every part's method says whose operators follow."""
        with ExitStack() as stack:
            for part, attribute in PARTS.items():
                owner = getattr(self.model, attribute, None)
                several = isinstance(owner, nn.ModuleDict)  # a teacher or neck by name
                for one in owner.values() if several else [owner]:
                    for name in ('forward', 'encode', 'query_key_value'):
                        if hasattr(one, name):
                            setattr(one, name, self._naming(part, getattr(one, name)))
                            stack.callback(delattr, one, name)
            stack.enter_context(torch.autograd.graph.saved_tensors_hooks(self.pack, self.unpack))
            yield

    def _naming(self, part: str, method: Callable) -> Callable:
        def named(*args: Any, **kwargs: Any) -> Any:
            before, self.part = self.part, part
            try:
                return method(*args, **kwargs)
            finally:
                self.part = before

        return named


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
    """The cost of a clip (or an image) of a pre-training config."""
    model = build_on_meta(cfg).to('meta').train()
    one, two = meter(model, 1), meter(model, 2)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    saved = two.saved - one.saved
    constant = 16 * trained + (one.saved - saved).total()  # weight, gradient and two moments
    parameters = {
        part: sum(p.numel() for p in getattr(model, attribute).parameters())
        for part, attribute in PARTS.items()
        if isinstance(getattr(model, attribute, None), nn.Module)
    }
    if teacher := parameters.get('teacher'):
        half = all(one.get('dtype') == 'bfloat16' for one in teacher_configs(cfg.model))
        constant += teacher * (2 if half else 4)
    return Cost(one.flops, saved, parameters, constant)


def meter(model: nn.Module, batch: int) -> Meter:
    """Run a step of ``batch`` clips on the meta device."""
    inputs = synthetic_inputs(model, batch).to('meta')
    data = model.data_preprocessor(batch_of(model, inputs), True)
    with (found := Meter(model)).parts(), found, FlashBfloat16():
        loss, _ = model.parse_losses(model(**data, mode='loss'))
        loss.backward()
    model.zero_grad()
    return found


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
    add('configs', nargs='+', metavar='CONFIG', help='pre-training configs')
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
            cfg = pretraining_config(path, args.cfg_options)
            costs[Path(path).stem] = cost = compute(cfg)
        except (OSError, ValueError, KeyError) as error:
            sys.exit(f'cost.py: {path}: {error}')
        if len(args.configs) == 1:
            print(report(Path(path).stem, cfg, cost, args))
    if len(costs) > 1:
        print(comparison(costs))


if __name__ == '__main__':
    main()
