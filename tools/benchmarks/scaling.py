"""Estimate the efficiency on many GPUs from a step measured on one.

    python tools/benchmarks/scaling.py CONFIG --step-ms 400 --clips 64 [--gpus 8 32 256]

Nothing is measured here. The formula and all assumptions are printed with the result.
"""

import argparse
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import _venv  # noqa: F401, first: finds the packages
import amd_mm  # noqa: F401, its import-time fixes come first
import common
from amd_mm.models.meta import build_on_meta
from mmengine.config import Config

FORMULA = """\
n GPUs on m = ceil(n / g) nodes of g GPUs; G bytes of gradients, and as many of weights.
Ring of k members, bandwidth B (bytes/s), latency L (s):
    gather(k, V, B) = (k - 1) * (V / (k * B) + L)    all-gather or reduce-scatter of V bytes
One collective, first inside the nodes and then between them:
    t1 = gather(min(n, g), G, intra) + gather(m, G / min(n, g), inter)
DDP   t = 2 * t1      all-reduce of the gradients
FSDP  t = 3 * t1      weights gathered forward and backward, gradients scattered
hidden     = overlap * min(t, backward_share * step)
efficiency = step / (step + t - hidden)
clips/s    = n * clips * efficiency / step
"""
COLLECTIVES = dict(DDP=2, FSDP=3)


@dataclass(frozen=True)
class Step:
    """A measured step of one GPU.

    Attributes:
        seconds: Duration without communication.
        clips: Clips in the step.
        backward_share: Part of the step in which communication can be hidden.
    """

    seconds: float
    clips: int
    backward_share: float


@dataclass(frozen=True)
class Links:
    """Connections between the GPUs.

    Attributes:
        per_node: GPUs per node.
        intra: Bytes/s of one GPU inside its node.
        inter: Bytes/s of one GPU to other nodes.
        latency: Seconds per hop.
        overlap: Part of the communication that can be hidden.
    """

    per_node: int
    intra: float
    inter: float
    latency: float
    overlap: float


def gather(members: int, size: float, bandwidth: float, latency: float) -> float:
    """Seconds of a ring's all-gather or reduce-scatter of ``size`` bytes."""
    return (members - 1) * (size / (members * bandwidth) + latency)


def communication(gpus: int, size: float, links: Links, strategy: str) -> float:
    """Seconds of communication per step for ``size`` bytes of gradients."""
    inside = min(gpus, links.per_node)
    nodes = -(-gpus // links.per_node)
    seconds = gather(inside, size, links.intra, links.latency)
    seconds += gather(nodes, size / inside, links.inter, links.latency)
    return COLLECTIVES[strategy] * seconds


def efficiency(gpus: int, size: float, step: Step, links: Links, strategy: str) -> float:
    """Expected clips/s relative to GPUs that do not communicate, in (0, 1]."""
    seconds = communication(gpus, size, links, strategy)
    hidden = links.overlap * min(seconds, step.backward_share * step.seconds)
    return step.seconds / (step.seconds + seconds - hidden)


def gradient_bytes(cfg: Config) -> int:
    """Bytes of the gradients of a pre-training config's model."""
    parameters = build_on_meta(cfg).parameters()
    return sum(p.numel() * p.element_size() for p in parameters if p.requires_grad)


def estimate(gpus: list[int], size: float, step: Step, links: Links) -> list[dict]:
    """One row for each number of GPUs and each strategy."""
    rows = []
    for count in gpus:
        for strategy in COLLECTIVES:
            share = efficiency(count, size, step, links, strategy)
            seconds = communication(count, size, links, strategy)
            rows.append(
                dict(
                    gpus=count,
                    strategy=strategy,
                    communication_ms=1000 * seconds,
                    efficiency=share,
                    clips_per_s=count * step.clips * share / step.seconds,
                )
            )
    return rows


def number(lowest: float, highest: float = float('inf')) -> type:
    """Argparse type: a number in a range."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float('nan')
        if not lowest <= value <= highest:
            raise argparse.ArgumentTypeError(
                f'{text!r} is not a number from {lowest:g} to {highest:g}'
            )
        return value

    return parse


def parse_args(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add('config', help='a pre-training config')
    add('--step-ms', type=number(1e-6), required=True, help='measured step of one GPU, in ms')
    add('--clips', type=common.positive, required=True, help='clips in that step')
    add('--gpus', type=common.positive, nargs='+', default=[8, 32, 256], help='numbers of GPUs')
    add('--per-node', type=common.positive, default=8, help='GPUs per node')
    add('--intra-gbs', type=number(1e-9), default=300.0, help='GB/s of a GPU inside its node')
    add('--inter-gbs', type=number(1e-9), default=25.0, help='GB/s of a GPU to other nodes')
    add('--latency-us', type=number(0), default=10.0, help='latency of a hop, in microseconds')
    add('--overlap', type=number(0, 1), default=0.8, help='part of the communication hidden')
    add('--backward-share', type=number(0, 1), default=0.5, help="backward pass's part of a step")
    add('--json', type=Path, help='also write the results to this file')
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Read the command line, compute and print."""
    args = parse_args(arguments)
    try:
        size = gradient_bytes(Config.fromfile(args.config))
    except (OSError, ValueError, AttributeError) as error:
        sys.exit(f'scaling.py: {args.config}: {error}')
    step = Step(args.step_ms / 1000, args.clips, args.backward_share)
    links = Links(
        per_node=args.per_node,
        intra=args.intra_gbs * 1e9,
        inter=args.inter_gbs * 1e9,
        latency=args.latency_us * 1e-6,
        overlap=args.overlap,
    )
    rows = estimate(args.gpus, size, step, links)
    print(report(args, size, rows))
    settings = dict(config=args.config, gradient_bytes=size, step=asdict(step), links=asdict(links))
    common.write_json(args.json, dict(**settings, rows=rows))


def report(args: argparse.Namespace, size: int, rows: list[dict]) -> str:
    """Formula, assumptions and results as Markdown."""
    cells = [['GPUs', 'strategy', 'communication, ms', 'efficiency', 'clips/s']]
    for row in rows:
        percent = f'{100 * row["efficiency"]:.1f} %'
        times = f'{row["communication_ms"]:.1f}', percent, f'{row["clips_per_s"]:.0f}'
        cells.append([str(row['gpus']), row['strategy'], *times])
    return f"""\
Computed, not measured, for {Path(args.config).name}.

```
{FORMULA}```

Assumptions:
- a step takes {args.step_ms:g} ms for {args.clips} clips on every GPU; loading is never slower
- gradients: {size / 1e6:.1f} MB; with accumulative_counts=k give k times the step (DDP)
- {args.per_node} GPUs per node, {args.intra_gbs:g} GB/s per GPU inside a node, \
{args.inter_gbs:g} GB/s between nodes, {args.latency_us:g} us per hop
- {100 * args.overlap:g} % of the communication is hidden, at most during the backward pass \
({100 * args.backward_share:g} % of the step)

{common.table(cells)}"""


if __name__ == '__main__':
    main()
