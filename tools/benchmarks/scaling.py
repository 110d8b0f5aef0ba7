"""Expected efficiency on many GPUs, computed from a step of one.

    python tools/benchmarks/scaling.py CONFIG --step-ms 400 --clips 64 \
        [--gpus 8 32 256] [--per-node 8] [--intra-gbs 300] [--inter-gbs 25] \
        [--latency-us 10] [--overlap 0.8] [--backward-share 0.5] [--json FILE]

Nothing is run on a GPU, and nothing is measured here: what comes out is as
good as the numbers that go in. The formula and every assumption are printed.
"""

import argparse
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from amd_mm.engine.launch import LaunchError, check_config_path
from amd_mm.models.meta import build_on_meta
from common import positive, table, write_figures
from mmengine.config import Config

FORMULA = """\
n GPUs on m = ceil(n / g) nodes of g. G bytes of gradients, as many of weights.
A ring of k members over a link of bandwidth B (bytes/s) and latency L (s):
    gather(k, V, B)  = (k - 1) * (V / (k * B) + L)   all-gather of V bytes, or
                       reduce-scatter
    reduce(k, V, B)  = 2 * gather(k, V, B)           all-reduce
DDP   t = reduce(n, G, intra)                                 on one node
      t = reduce(g, G, intra) + reduce(m, G / g, inter)       on several: the
          g GPUs of a node share its link, each sends its G / g over it
FSDP  t = 3 * gather(n, G, intra), or on several nodes
      t = 3 * (gather(g, G, intra) + gather(m, G / g, inter)):
          weights gathered forward and backward, gradients scattered
hidden  = overlap * min(t, backward_share * step)
efficiency = step / (step + t - hidden)
clips/s    = n * clips * efficiency / step
"""


@dataclass(frozen=True)
class Step:
    """What one GPU does.

    Attributes:
        seconds (float): A step of one GPU, without communication.
        clips (int): Clips of that step.
        backward_share (float): Part of it during which communication can run
            beside the computation: the backward pass.
    """

    seconds: float
    clips: int
    backward_share: float


@dataclass(frozen=True)
class Links:
    """What the GPUs are connected by.

    Attributes:
        per_node (int): GPUs of a node.
        intra (float): Bytes/s of a GPU to the others of its node.
        inter (float): Bytes/s of a GPU to other nodes: its share of the
            node's link.
        latency (float): Seconds of a hop.
        overlap (float): Share of the communication that can be hidden.
    """

    per_node: int
    intra: float
    inter: float
    latency: float
    overlap: float


def gather(members: int, size: float, bandwidth: float, latency: float) -> float:
    """Seconds of a ring's all-gather or reduce-scatter.

    Args:
        members (int): Of the ring.
        size (float): Bytes of the whole.
        bandwidth (float): Bytes/s of a link.
        latency (float): Seconds of a hop.
    """
    return (members - 1) * (size / (members * bandwidth) + latency)


def communication(gpus: int, size: float, links: Links, collectives: int) -> float:
    """Seconds of a step's communication, hierarchical on several nodes.

    Args:
        gpus (int): How many.
        size (float): Bytes of the gradients.
        links (Links): What connects them.
        collectives (int): 2 for DDP (an all-reduce is a reduce-scatter and an
            all-gather), 3 for FSDP.
    """
    inside = min(gpus, links.per_node)
    nodes = -(-gpus // links.per_node)
    seconds = gather(inside, size, links.intra, links.latency)
    seconds += gather(nodes, size / inside, links.inter, links.latency)
    return collectives * seconds


WAYS = dict(DDP=2, FSDP=3)


def efficiency(gpus: int, size: float, step: Step, links: Links, way: str) -> float:
    """Expected clips/s over those of as many GPUs that need not talk.

    Args:
        gpus (int): How many.
        size (float): Bytes of the gradients.
        step (Step): What one GPU does.
        links (Links): What connects them.
        way (str): ``DDP`` or ``FSDP``.

    Returns:
        float: In (0, 1].
    """
    talk = communication(gpus, size, links, WAYS[way])
    hidden = links.overlap * min(talk, step.backward_share * step.seconds)
    return step.seconds / (step.seconds + talk - hidden)


def gradient_bytes(cfg: Config) -> dict[str, int]:
    """Bytes of the gradients of a config's model, by data type.

    Args:
        cfg (Config): Of pre-training; its teacher's checkpoint is not read.

    Returns:
        Dict[str, int]: E.g. ``{'float32': 4 * parameters}``.
    """
    sizes: dict[str, int] = {}
    for parameter in build_on_meta(cfg).parameters():
        if parameter.requires_grad:
            name = str(parameter.dtype).replace('torch.', '')
            count = parameter.numel() * parameter.element_size()
            sizes[name] = sizes.get(name, 0) + count
    return sizes


def figures(gpus: list[int], size: float, step: Step, links: Links) -> list[dict]:
    """The expected figures, a row for every count and way."""
    rows = []
    for count in gpus:
        for way, collectives in WAYS.items():
            share = efficiency(count, size, step, links, way)
            rows.append(
                dict(
                    gpus=count,
                    way=way,
                    communication_ms=1000 * communication(count, size, links, collectives),
                    efficiency=share,
                    clips_per_s=count * step.clips * share / step.seconds,
                )
            )
    return rows


def share(text: str) -> float:
    """A number from 0 to 1, as an argparse type."""
    return _number(text, 0, 1)


def above_zero(text: str) -> float:
    """A number above 0, as an argparse type."""
    value = _number(text, 0, float('inf'))
    if not value:
        raise argparse.ArgumentTypeError('has to be above 0')
    return value


def not_negative(text: str) -> float:
    """A number from 0, as an argparse type."""
    return _number(text, 0, float('inf'))


def _number(text: str, lowest: float, highest: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float('nan')
    if not lowest <= value <= highest:
        raise argparse.ArgumentTypeError(f'{text!r} is no number from {lowest:g} to {highest:g}')
    return value


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Expected efficiency on many GPUs, by a formula')
    add = parser.add_argument
    add('config', help='a pre-training config')
    add('--step-ms', type=above_zero, required=True, help='measured step of one GPU, in ms')
    add('--clips', type=positive, required=True, help='clips of that step')
    add('--gpus', type=positive, nargs='+', default=[8, 32, 256])
    add('--per-node', type=positive, default=8, help='GPUs of a node')
    add(
        '--intra-gbs',
        type=above_zero,
        default=300.0,
        help='GB/s of a GPU inside its node (default: %(default)g)',
    )
    add(
        '--inter-gbs',
        type=above_zero,
        default=25.0,
        help='GB/s of a GPU to other nodes (default: %(default)g)',
    )
    add(
        '--latency-us',
        type=not_negative,
        default=10.0,
        help='of a hop, in microseconds (default: %(default)g)',
    )
    add(
        '--overlap',
        type=share,
        default=0.8,
        help='share of the communication that can be hidden behind the '
        'backward pass (default: %(default)g)',
    )
    add(
        '--backward-share',
        type=share,
        default=0.5,
        help="the backward pass's share of the step (default: %(default)g)",
    )
    add('--json', type=Path, help='write all figures to this file too')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Compute and print."""
    args = parse_args(argv)
    try:
        check_config_path(args.config)
        cfg = Config.fromfile(args.config)
        if 'model' not in cfg:
            raise LaunchError(f'{args.config} has no `model`')
        sizes = gradient_bytes(cfg)
    except LaunchError as error:
        sys.exit(f'scaling.py: {error}')
    step = Step(args.step_ms / 1000, args.clips, args.backward_share)
    links = Links(
        args.per_node,
        args.intra_gbs * 1e9,
        args.inter_gbs * 1e9,
        args.latency_us * 1e-6,
        args.overlap,
    )
    rows = figures(args.gpus, sum(sizes.values()), step, links)
    print(report(args, sizes, rows))
    write_figures(
        args.json,
        config=args.config,
        gradient_bytes=sizes,
        step=asdict(step),
        links=asdict(links),
        figures=rows,
    )


def report(args: argparse.Namespace, sizes: dict[str, int], rows: list[dict]) -> str:
    """Formula, assumptions and table, as Markdown."""
    total = ', '.join(f'{value / 1e6:.1f} MB of {name}' for name, value in sizes.items())
    header = ['GPUs', 'way', 'communication, ms', 'efficiency', 'clips/s']
    cells = [
        [
            str(row['gpus']),
            row['way'],
            f'{row["communication_ms"]:.1f}',
            f'{100 * row["efficiency"]:.1f} %',
            f'{row["clips_per_s"]:.0f}',
        ]
        for row in rows
    ]
    return f"""\
Computed, not measured, for {Path(args.config).name}.

```
{FORMULA}```

Assumed:
- a step of one GPU takes {args.step_ms:g} ms for {args.clips} clips, however \
many GPUs there are: data is there in time, and all are equally fast
- gradients: {total}, counted from the config; FSDP gathers the weights in \
the same type. No accumulation: with accumulative_counts=k give k times the \
step (DDP; FSDP gathers the weights for each of them)
- {args.per_node} GPUs a node, {args.intra_gbs:g} GB/s a GPU inside, \
{args.inter_gbs:g} GB/s a GPU between nodes, {args.latency_us:g} us a hop, \
one message a collective
- {100 * args.overlap:g} % of the communication can be hidden, for as long as \
the backward pass takes ({100 * args.backward_share:g} % of the step)

{table([header, *cells])}"""


if __name__ == '__main__':
    main()
