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
import math
import statistics
import sys
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import (
    Any,
    Callable,
    ContextManager,
    Dict,
    List,
    Optional,
    Sequence,
    Tuple,
)

import amd_mm  # noqa: F401, its import-time fixes serve what follows
import torch
from amd_mm.models import MaskedAutoencoder, TinyMIM, TokenPartition
from amd_mm.models.utils import gather_tokens
from amd_mm.registry import MODELS
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
from mmengine.config import Config, ConfigDict, DictAction
from mmengine.optim import build_optim_wrapper
from plain_step import NotPlainError, PlainParts, plain_config, whole_teacher
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

OURS, PLAIN, OTHER = 'amd_mm', 'plain', 'other'
# Relative difference of a step's losses: what rounding explains, with room.
_TOLERANCE = dict(fp32=1e-4, bf16=3e-2, fp16=3e-2)
_TRAINED, _OPTIMISER = ('student', 'neck', 'decoder'), 'optimiser'


@dataclass(frozen=True)
class Task:
    """What is measured; travels to other processes.

    Attributes:
        config (str): The pre-training config.
        options (dict): Changes of it.
        other (dict | None): Further changes for the other way; None for the
            plain one.
        batch (int): Clips or images a step.
        lr (float): Learning rate, constant.
        plain_dtype (str): What the plain way's autocast computes in.
    """

    config: str
    options: Dict[str, Any]
    other: Optional[Dict[str, Any]]
    batch: int
    lr: float
    plain_dtype: str

    def load(self, way: str, machine: Machine) -> Config:
        """The config of a way.

        Raises:
            ValueError: If it is none of pre-training.
            NotPlainError: See :func:`plain_config`.
        """
        cfg = Config.fromfile(self.config)
        cfg.merge_from_dict(self.options)
        if way == OTHER:
            cfg.merge_from_dict(self.other)
        kind = cfg.get('model') and MODELS.get(cfg.model.type)
        if not kind or not issubclass(kind, (MaskedAutoencoder, TinyMIM)):
            raise ValueError(
                f'{self.config} does not pre-train by amd_mm.'
                'MaskedAutoencoder, amd_mm.AMD or amd_mm.TinyMIM: its model '
                f'is {cfg.get("model", {}).get("type")}'
            )
        if cfg.model.get('teacher'):
            cfg.model.teacher.update(checkpoint=None, random_init=True)
            if machine.dtype == 'fp32':
                cfg.model.teacher.dtype = 'float32'
        if way == PLAIN:
            cfg.model = plain_config(cfg.model)
        cfg.optim_wrapper.optimizer.lr = self.lr
        cfg.optim_wrapper.pop('accumulative_counts', None)
        return cfg


class Inputs:
    """Synthetic clips or images as a data loader gives them, always the same.

    Args:
        model (nn.Module): For which.
        batch (int): How many.
        device (torch.device): They are there already.
    """

    def __init__(
        self, model: nn.Module, batch: int, device: torch.device
    ) -> None:
        backbone = model.backbone
        size = [
            tokens * side
            for tokens, side in zip(backbone.token_grid, backbone.patch_shape)
        ]
        self.is_video = backbone.input_dims == 5
        shape = (
            batch,
            backbone.in_channels,
            *(size if self.is_video else size[1:]),
        )
        generator = torch.Generator().manual_seed(0)
        values = torch.randint(
            0, 256, shape, generator=generator, dtype=torch.uint8
        )
        if self.is_video:  # frame by frame, the colours of a pixel together
            values = values.movedim(1, -1).contiguous().movedim(-1, 1)
        self.values = values.to(device)
        self.two_views = isinstance(model, TinyMIM)

    def packed(self) -> Dict[str, object]:
        """What the data loader gives; new, as preprocessors use it up."""
        if self.is_video:
            inputs = [self.values]
        elif self.two_views:
            inputs = [self.values, self.values.clone()]
        else:
            inputs = self.values
        return dict(inputs=inputs, data_samples=[])


class OurParts:
    """The parts of a step, as the algorithms of this package do them.

    Args:
        model (MaskedAutoencoder): The model.
    """

    def __init__(self, model: MaskedAutoencoder) -> None:
        self.model = model

    def teacher(self, clip: Tensor, partition: TokenPartition) -> List[Tensor]:
        """Taps (B, Kv + Ke, C), the visible tokens first."""
        patches = self.model.backbone.patchify(clip)
        return self.model.teacher(patches, partition.teacher)

    def student(
        self, clip: Tensor, partition: TokenPartition
    ) -> Tuple[Tensor, List[Tensor]]:
        """Normed tokens (B, Kv, C), and the taps."""
        out = self.model.backbone.encode(
            self.model.backbone.patchify(clip),
            partition.visible,
            taps=getattr(self.model, 'student_taps', ()),
        )
        return out.tokens, out.taps

    def neck(
        self,
        taps: List[Tensor],
        theirs: List[Tensor],
        partition: TokenPartition,
    ) -> Dict[str, Tensor]:
        """The alignment losses, weighted."""
        predicted = self.model.neck(taps, partition)
        losses = self.model.alignment_loss(predicted, theirs)
        self.model.health(taps, predicted, theirs)
        return {k: v for k, v in losses.items() if k.startswith('loss')}

    def target(self, clip: Tensor, partition: TokenPartition) -> Tensor:
        """(B, Kd, P), what is to be predicted."""
        patches = gather_tokens(
            self.model.backbone.patchify(clip), partition.targets
        )
        return self.model.head.target(patches, *self.model.pixel_stats())

    def decoder(
        self, tokens: Tensor, target: Tensor, partition: TokenPartition
    ) -> Tensor:
        """The reconstruction's loss, weighted."""
        prediction = self.model.decoder(
            tokens, partition.visible, partition.targets
        )
        return self.model.rec_weight * nn.functional.mse_loss(
            prediction.float(), target
        )


class Way:
    """One of the two ways: a model, its parts, its optimiser and its step.

    Args:
        name (str): ``OURS``, ``OTHER`` or ``PLAIN``.
        task (Task): What is measured.
        machine (Machine): Where.
        like (Way, optional): Whose weights to take; random ones else.
    """

    def __init__(
        self,
        name: str,
        task: Task,
        machine: Machine,
        like: Optional['Way'] = None,
    ) -> None:
        self.machine, self.plain = machine, name == PLAIN
        self.dtype = task.plain_dtype if self.plain else machine.dtype
        cfg = task.load(name, machine)
        torch.manual_seed(0)
        self.model = MODELS.build(cfg.model)
        self.model.init_weights()
        # Zeros and ones would hide a bias or a norm in the wrong place.
        for parameter in self.model.parameters():
            parameter.data.add_(torch.randn_like(parameter) * 0.01)
        if like is not None:
            self.model.load_state_dict(like.model.state_dict())
            _copy_teacher(self.model, like.model)
        teacher = whole_teacher(self.model, cfg.model) if self.plain else None
        device = torch.device(machine.device)
        self.model.to(device).train()
        self.inputs = Inputs(self.model, task.batch, device)
        if self.plain:
            self.parts = PlainParts(self.model, teacher and teacher.to(device))
            self._drop_short_teacher()
            self._build_plain_optimizer(cfg.optim_wrapper)
        else:
            self.parts = OurParts(self.model)
            cfg.optim_wrapper.precision = machine.dtype
            self.wrapper = build_optim_wrapper(self.model, cfg.optim_wrapper)

    def _drop_short_teacher(self) -> None:
        if self.parts.whole_teacher is not None:
            self.model.teacher.backbone = nn.Identity()

    def _build_plain_optimizer(self, cfg: ConfigDict) -> None:
        settings = dict(cfg.optimizer)
        settings.pop('type')
        wrapper = build_optim_wrapper(self.model, cfg)  # its groups
        groups = [
            {key: group[key] for key in ('params', 'lr', 'weight_decay')}
            for group in wrapper.param_groups
        ]
        self.optimizer = torch.optim.AdamW(groups, **settings)
        self.max_norm = (cfg.get('clip_grad') or {}).get('max_norm')
        self.scaler = torch.amp.GradScaler(
            self.machine.device, enabled=self.dtype == 'fp16'
        )

    def autocast(self) -> ContextManager:
        """The context of forward passes."""
        if DTYPES[self.dtype] is None:
            return nullcontext()
        return torch.autocast(
            torch.device(self.machine.device).type, dtype=DTYPES[self.dtype]
        )

    def clip(self) -> Tensor:
        """Preprocessed (B, C, T, H, W), or images (B, C, H, W)."""
        data = self.model.data_preprocessor(self.inputs.packed(), True)
        inputs = data['inputs']
        if not isinstance(inputs, Tensor):
            inputs = inputs[0]
        return inputs.flatten(0, 1) if inputs.ndim > 5 else inputs

    def step(self) -> Tensor:
        """A whole step of training, from uint8 inputs; the loss."""
        return self._plain_step() if self.plain else self._step()

    def _step(self) -> Tensor:
        outputs = self.model.train_step(self.inputs.packed(), self.wrapper)
        return outputs['loss']

    def _plain_step(self) -> Tensor:
        with self.autocast():
            clip = self.clip()
            partition = draw(self.model, clip)
            losses = self.parts.losses(clip, partition)
        loss = sum(losses.values())
        if not math.isfinite(loss.item()):
            raise UnequalError('the loss of the plain way is not finite')
        for value in losses.values():
            value.item()
        self.scaler.scale(loss).backward()
        self.step_optimizer()
        self.optimizer.zero_grad()
        return loss.detach()

    def step_optimizer(self) -> None:
        """Clip the gradients and step."""
        if not self.plain:
            self.wrapper.step()
            return
        self.scaler.unscale_(self.optimizer)
        if self.max_norm:
            nn.utils.clip_grad_norm_(
                self.model.parameters(), self.max_norm
            ).item()
        self.scaler.step(self.optimizer)
        self.scaler.update()


def _copy_teacher(model: nn.Module, source: nn.Module) -> None:
    if getattr(source, 'teacher', None) is not None:
        model.teacher.load_state_dict(source.teacher.state_dict())


class PartSteps:
    """The parts of a step one by one, each with its backward pass.

    Args:
        way (Way): Whose.
    """

    def __init__(self, way: Way) -> None:
        self.way, self.clip = way, way.clip()
        self.partition = partition = draw(way.model, self.clip)
        model, parts = way.model, way.parts
        self.names = ['student']
        with torch.no_grad(), way.autocast():
            tokens, taps = parts.student(self.clip, partition)
            if getattr(model, 'neck', None) is not None:
                self.names = ['teacher', 'student', 'neck']
                self.taps = [_leaf(tap) for tap in taps]
                self.theirs = parts.teacher(self.clip, partition)
            if model.reconstructs:
                self.names += ['decoder', 'target']
                self.tokens = _leaf(tokens)
                self.goal = parts.target(self.clip, partition)
        self.names.append(_OPTIMISER)

    def run(self, name: str) -> None:
        """One part, once."""
        if name == _OPTIMISER:
            self.way.step_optimizer()
            return
        gradients = name in _TRAINED
        with torch.set_grad_enabled(gradients), self.way.autocast():
            outputs = getattr(self, f'_{name}')()
        if gradients:
            self.way.model.zero_grad()
            torch.autograd.backward(
                outputs, [torch.ones_like(o) for o in outputs]
            )

    def prepare(self, name: str) -> None:
        """Give the optimiser gradients to step with."""
        if name != _OPTIMISER:
            return
        for parameter in self.way.model.parameters():
            if parameter.requires_grad:
                parameter.grad = torch.full_like(parameter, 1e-4)
        if self.way.plain and self.way.scaler.is_enabled():
            self.way.scaler.scale(
                torch.ones(1, device=self.way.machine.device)
            )

    def _teacher(self) -> None:
        self.way.parts.teacher(self.clip, self.partition)

    def _target(self) -> None:
        self.way.parts.target(self.clip, self.partition)

    def _student(self) -> List[Tensor]:
        tokens, taps = self.way.parts.student(self.clip, self.partition)
        return [tokens, *taps] if self.way.model.reconstructs else taps

    def _neck(self) -> List[Tensor]:
        losses = self.way.parts.neck(self.taps, self.theirs, self.partition)
        return list(losses.values())

    def _decoder(self) -> List[Tensor]:
        return [self.way.parts.decoder(self.tokens, self.goal, self.partition)]


def _leaf(tensor: Tensor) -> Tensor:
    return tensor.detach().requires_grad_()


def compare(
    ways: Dict[str, Way], steps: int, machine: Machine
) -> Dict[str, List[float]]:
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
    losses: Dict[str, List[float]] = {name: [] for name in ways}
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


def count_flops(task: Task, machine: Machine) -> Dict[str, float]:
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
        if name not in ('target', _OPTIMISER)
    }


def _counted(step: Callable[[], object]) -> float:
    with (
        FlopCounterMode(display=False) as counter,
        sdpa_kernel(SDPBackend.MATH),
    ):
        step()
    return float(counter.get_total_flops())


def has_parts(way: Way) -> bool:
    """Whether a masked autoencoder steps, with or without a teacher."""
    return isinstance(way.model, MaskedAutoencoder)


def draw(model: nn.Module, clip: Tensor) -> TokenPartition:
    """Who sees what of (B, C, T, H, W); all ways' nth draws are the same."""
    return model.mask_generator(
        len(clip), model.backbone.token_grid, clip.device
    )


def time_parts(
    ways: Dict[str, Way], machine: Machine, repeats: int, warmup: int
) -> Dict[str, Dict[str, List[float]]]:
    """Seconds of every part, for each way, in turns."""
    seconds: Dict[str, Dict[str, List[float]]] = {}
    steps = {name: PartSteps(way) for name, way in ways.items()}
    for part in next(iter(steps.values())).names:
        note(f'speed of the {part}')
        for one in steps.values():
            one.prepare(part)
        seconds[part] = take_turns(
            {
                name: (lambda one=one, part=part: one.run(part))
                for name, one in steps.items()
            },
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
    task: Task,
    machine: Machine,
    names: Sequence[str],
    repeats: int,
    warmup: int,
    loss_steps: int,
) -> Dict[str, Any]:
    """Compare, count, time; see the module."""
    device = machine.prepare()
    found: Dict[str, Any] = dict(flops=count_flops(task, machine))
    ours = Way(names[0], task, machine)
    ways = {names[0]: ours}
    if len(names) > 1:
        ways[names[1]] = Way(names[1], task, machine, like=ours)
        found['losses'] = compare(ways, loss_steps, machine)
    note('speed of the whole step')
    found['step'] = take_turns(
        {name: way.step for name, way in ways.items()},
        machine,
        repeats,
        warmup,
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


def report(found: Dict[str, Any], batch: int) -> str:
    """The figures as tables."""
    names = list(found['step'])
    return '\n\n'.join(
        [
            _step_table(found, names, batch),
            *([_part_table(found, names)] if 'parts' in found else []),
        ]
    )


def _step_table(found: Dict[str, Any], names: List[str], batch: int) -> str:
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


def _part_table(found: Dict[str, Any], names: List[str]) -> str:
    header = ['part', 'GFLOP a clip', *(f'{name}, ms' for name in names)]
    if len(names) > 1:
        header.append(f'{names[1]} / {names[0]}')
    rows = [header]
    for part, seconds in found['parts'].items():
        flops = found['flops'].get(part)
        row = [part, f'{flops / 1e9:.1f}' if flops else '']
        row += [
            middle_and_spread([1e3 * one for one in seconds[name]])
            for name in names
        ]
        if len(names) > 1:
            first, second = (
                statistics.median(seconds[name]) for name in names
            )
            row.append(f'{second / first:.2f} x')
        rows.append(row)
    total = sum(found['flops'].values())
    rows.append(['together', f'{total / 1e9:.1f}', *[''] * (len(header) - 2)])
    return table(rows)


def parse_args(arguments: Optional[List[str]] = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config', help='a pre-training config')
    parser.add_argument(
        '--against',
        nargs='+',
        metavar='plain | KEY=VALUE',
        help='the step as it is usually written, or the same config with '
        'other options',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        help='change the config, for both ways',
    )
    parser.add_argument(
        '--batch', type=positive, default=2, help='clips (default: 2)'
    )
    parser.add_argument(
        '--loss-steps',
        type=positive,
        default=20,
        help='steps whose losses have to agree first (default: 20)',
    )
    parser.add_argument(
        '--lr',
        type=float,
        default=1e-5,
        help='learning rate of all steps (default: 1e-5)',
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
            parser.error(
                f'--against {wrong[0]} is neither `plain` nor KEY=VALUE'
            )
        args.other = parser.parse_args(
            [args.config, '--cfg-options', *args.against]
        ).cfg_options
    return args


def main(arguments: Optional[List[str]] = None) -> None:
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
            found = measure(
                task,
                machine,
                names,
                args.repeats,
                args.warmup,
                args.loss_steps,
            )
    except (
        ValueError,
        OSError,
        KeyError,
        UnequalError,
        NotPlainError,
    ) as error:
        sys.exit(f'pretrain_step.py: {error}')
    print(
        f'{Path(args.config).stem}, batch {args.batch}, {args.repeats} '
        'turns each'
        + (f', against {" ".join(args.against)}' if args.against else '')
    )
    print(', '.join(f'{name}: {value}' for name, value in facts.items()))
    if 'losses' in found:
        print(
            f'losses of {args.loss_steps} steps: largest relative '
            f'difference {largest_difference(found["losses"]):.1e} (limit '
            f'{_TOLERANCE[args.dtype]:.0e})'
        )
    print(
        f'ceiling, a matrix product in {args.dtype}: '
        f'{found["ceiling"] / 1e12:.3g} TFLOP/s'
    )
    print()
    print(report(found, args.batch))
    write_figures(args.json, task=asdict(task), machine=facts, **found)


def largest_difference(losses: Dict[str, List[float]]) -> float:
    """Of two ways' losses, relative to the first."""
    first, second = losses.values()
    return max(abs(a - b) / abs(a) for a, b in zip(first, second))


if __name__ == '__main__':
    main()
