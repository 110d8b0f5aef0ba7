"""Time the training step of a pre-training config.

    python tools/benchmarks/pretrain_step.py CONFIG --against plain \
        --device cuda --dtype bf16 --batch 64

Synthetic clips or images of the config's size, random weights, the config's optimiser.
`--against plain` compares with the plain implementation in plain_step.py, `--against KEY=VALUE`
with the same config under other options. Both train from the same weights on the same inputs
first, and nothing is timed unless their losses agree.
"""

import argparse
import logging
import statistics
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import _venv  # noqa: F401, first: finds the packages
import amd_mm  # noqa: F401, its import-time fixes come first
import common
import torch
from amd_mm.models import MaskedAutoencoder, TinyMIM
from amd_mm.models.meta import build_on_meta, meter_step
from amd_mm.models.teachers import randomize_teachers, teacher_configs
from amd_mm.registry import MODELS
from mmengine.config import Config, DictAction
from mmengine.optim import build_optim_wrapper
from plain_step import PlainStep, plain_config
from torch import Tensor, nn

OURS, PLAIN, OPTION = 'amd_mm', 'plain', 'option'
TOLERANCE = dict(fp32=1e-4, bf16=3e-2, fp16=3e-2)  # relative, of the losses


def load_config(args: argparse.Namespace, name: str) -> Config:
    """The config of one of the two steps, with random weights and a constant learning rate."""
    options = {**args.cfg_options, **(args.other_options if name == OPTION else {})}
    cfg = pretraining_config(args.config, options)
    for teacher in teacher_configs(cfg.model) if args.dtype == 'fp32' else ():
        teacher['dtype'] = 'float32'
    if name == PLAIN:
        cfg.model = plain_config(cfg.model)
    cfg.optim_wrapper.optimizer.lr = args.lr
    cfg.optim_wrapper.pop('accumulative_counts', None)
    return cfg


def pretraining_config(path: str, options: dict) -> Config:
    """A pre-training config whose teacher has random weights.

    Raises:
        ValueError: If the config does not pre-train.
    """
    cfg = Config.fromfile(path)
    cfg.merge_from_dict(options)
    if not is_pretraining(cfg):
        raise ValueError(
            f'{path} is not a pre-training config: model.type is {cfg.get("model", {}).get("type")}'
        )
    randomize_teachers(cfg.model)
    return cfg


def is_pretraining(cfg: Config) -> bool:
    """Whether a config trains one of the algorithms of pre-training."""
    kind = MODELS.get(cfg.model.type) if cfg.get('model') else None
    return bool(kind) and issubclass(kind, (MaskedAutoencoder, TinyMIM))


def build_model(cfg: Config, device: str, like: nn.Module | None = None) -> nn.Module:
    """Build a model with random weights, or with the weights of another one."""
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    # Parameters that start at zero or one would hide an error in a bias or a norm.
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.01)
    if like is not None:
        model.load_state_dict(like.state_dict())
        if getattr(model, 'teacher', None) is not None:
            model.teacher.load_state_dict(like.teacher.state_dict())
    return model.to(device).train()


class Step:
    """A whole training step, from uint8 inputs to new weights.

    Args:
        name: ``OURS``, ``PLAIN`` or ``OPTION``.
        args: The command line.
        like: Take the weights of this step's model.
    """

    def __init__(self, name: str, args: argparse.Namespace, like: 'Step | None' = None) -> None:
        cfg = load_config(args, name)
        self.model = build_model(cfg, args.device, like and like.model)
        self.inputs = synthetic_inputs(self.model, args.batch).to(args.device)
        self.train = None
        if name == PLAIN:
            dtype = args.plain_dtype or args.dtype
            self.train = PlainStep(self.model, cfg.model, cfg.optim_wrapper, dtype)
        else:
            cfg.optim_wrapper.precision = args.dtype
            self.wrapper = build_optim_wrapper(self.model, cfg.optim_wrapper)

    def clip(self) -> Tensor:
        """The preprocessed inputs, (B, C, T, H, W)."""
        inputs = self.model.data_preprocessor(batch_of(self.model, self.inputs), True)['inputs']
        return inputs.flatten(0, 1) if inputs.ndim > 5 else inputs

    def __call__(self) -> Tensor:
        """Train; the loss."""
        if self.train is not None:
            return self.train(self.clip())
        return self.model.train_step(batch_of(self.model, self.inputs), self.wrapper)['loss']


def batch_of(model: nn.Module, inputs: Tensor) -> dict:
    """The inputs as a data loader gives them, copied because preprocessors change them."""
    views = 2 if isinstance(model, TinyMIM) else 1
    if inputs.ndim == 5 or views > 1:
        return dict(inputs=[inputs.clone() for _ in range(views)], data_samples=[])
    return dict(inputs=inputs, data_samples=[])


def synthetic_inputs(model: nn.Module, batch: int) -> Tensor:
    """Random uint8 clips (B, C, T, H, W) or images (B, C, H, W) of the model's size."""
    backbone = model.backbone
    size = [tokens * side for tokens, side in zip(backbone.token_grid, backbone.patch_shape)]
    generator = torch.Generator().manual_seed(0)
    if backbone.input_dims == 4:
        shape = (batch, backbone.in_channels, *size[1:])
        return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    # In memory a clip is as it was decoded: frame by frame, colours last.
    shape = (batch, *size, backbone.in_channels)
    values = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    return values.movedim(-1, 1)


def compare_losses(steps: dict[str, Step], args: argparse.Namespace) -> dict[str, list[float]]:
    """Train all steps on the same inputs and masks; the losses.

    Raises:
        UnequalError: If the losses differ by more than rounding.
    """
    losses: dict[str, list[float]] = {name: [] for name in steps}
    limit = TOLERANCE[args.dtype]
    for number in range(args.loss_steps):
        for name, step in steps.items():
            torch.manual_seed(number)  # the same masks
            losses[name].append(step().item())
        first, second = (values[-1] for values in losses.values())
        common.log(f'step {number + 1} of {args.loss_steps}: losses {first:.6g} and {second:.6g}')
        if not abs(first - second) <= limit * abs(first):
            raise common.UnequalError(
                f'the losses of {" and ".join(steps)} are {first:.6g} and {second:.6g} in step '
                f'{number + 1}, which is more than rounding in {args.dtype} ({limit:g}); '
                'nothing was timed'
            )
    return losses


def count_flops(args: argparse.Namespace) -> float:
    """Floating-point operations of one clip's step, as cost.py counts them."""
    cfg = pretraining_config(args.config, {**args.cfg_options, 'model.compile_blocks': False})
    model = build_on_meta(cfg).to('meta').train()
    inputs = batch_of(model, synthetic_inputs(model, 1).to('meta'))
    return float(meter_step(model, inputs).flops.total())


def matmul_speed(args: argparse.Namespace, repeats: int = 10) -> float:
    """FLOP/s of a large matrix product: the limit of the device."""
    size = 8192 if torch.device(args.device).type == 'cuda' else 2048
    dtype = common.DTYPES[args.dtype] or torch.float32
    left, right = (torch.randn(size, size, device=args.device).to(dtype) for _ in range(2))
    once = argparse.Namespace(device=args.device, repeats=repeats, warmup=2)
    seconds = common.time_in_turns(dict(matmul=partial(torch.matmul, left, right)), once)
    return 2 * size**3 / min(seconds['matmul'])


def memory_of(name: str, args: argparse.Namespace) -> dict:
    """Peak memory of one step; on a CPU to be called in a new process."""
    device = common.prepare_device(args)
    return common.measure_memory(Step(name, args), device)


def profile(step: Callable[[], object], args: argparse.Namespace) -> str:
    """The operators that take the most time in a step."""
    step()
    with torch.profiler.profile() as profiler:
        step()
        common.synchronize(args.device)
    kind = torch.device(args.device).type
    return profiler.key_averages().table(sort_by=f'self_{kind}_time_total', row_limit=25)


def measure(args: argparse.Namespace) -> dict:
    """Compare the losses, then measure time and memory; see the module."""
    names = [OURS, *([args.baseline] if args.baseline else [])]
    found, steps = {}, {OURS: Step(OURS, args)}
    for name in names[1:]:
        steps[name] = Step(name, args, like=steps[OURS])
        found['losses'] = compare_losses(steps, args)
    found.update(flops=count_flops(args), matmul=matmul_speed(args))
    common.log('time')
    found['seconds'] = common.time_in_turns(steps, args)
    if args.profile:
        args.profile.write_text(profile(steps[OURS], args))
    steps.clear()  # the other processes need the memory
    torch.cuda.empty_cache()
    common.log('memory')
    if torch.device(args.device).type == 'cuda':  # counts what it allocated
        found['memory'] = {name: memory_of(name, args) for name in names}
    else:
        found['memory'] = {name: common.in_new_process(memory_of, name, args) for name in names}
    return found


def report(found: dict, args: argparse.Namespace) -> str:
    """The measurements as text."""
    lines = []
    if 'losses' in found:
        pairs = zip(*found['losses'].values())
        largest = max(abs(first - second) / abs(first) for first, second in pairs)
        lines.append(
            f'losses of {args.loss_steps} steps: largest relative difference {largest:.1e}'
        )
    lines.append(f'a matrix product in {args.dtype}: {found["matmul"] / 1e12:.3g} TFLOP/s')
    lines.append(f'one step of one clip: {found["flops"] / 1e9:.1f} GFLOP\n')
    rows = common.comparison_table(found['seconds'], found['memory'], args.batch)
    rows[0] += ['TFLOP/s', 'of a matrix product']
    for row, seconds in zip(rows[1:], found['seconds'].values()):
        speed = found['flops'] * args.batch / statistics.median(seconds)
        row += [f'{speed / 1e12:.3g}', f'{speed / found["matmul"]:.0%}']
    width = len(rows[0])
    return '\n'.join([*lines, common.table([row + [''] * (width - len(row)) for row in rows])])


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add('config', help='a pre-training config')
    add(
        '--against',
        nargs='+',
        metavar='plain | KEY=VALUE',
        help='baseline: the plain implementation, or the same config with other options',
    )
    add(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        help='changes to the config, for both',
    )
    add('--batch', type=common.positive, default=2, help='clips per step (default: 2)')
    add('--loss-steps', type=common.positive, default=20, help='compared steps (default: 20)')
    add('--lr', type=float, default=1e-5, help='learning rate (default: 1e-5)')
    add('--plain-dtype', choices=common.DTYPES, help='dtype of the plain step (default: --dtype)')
    add('--profile', type=Path, help='write the operators that take the most time to this file')
    common.add_device_arguments(parser)
    common.add_timing_arguments(parser)
    args = parser.parse_args(arguments)
    args.baseline, args.other_options = None, {}
    if args.against == [PLAIN]:
        args.baseline = PLAIN
    elif args.against:
        wrong = [option for option in args.against if '=' not in option]
        if wrong:
            parser.error(f'--against {wrong[0]}: neither `plain` nor KEY=VALUE')
        options = parser.parse_args([args.config, '--cfg-options', *args.against]).cfg_options
        args.baseline, args.other_options = OPTION, options
    return args


def main(arguments: list[str] | None = None) -> None:
    """Read the command line, measure and print."""
    args = parse_args(arguments)
    try:
        common.prepare_device(args)
        facts = common.describe_machine(args.device, args.dtype)
        logging.disable(logging.INFO)  # how each model was initialised
        found = measure(args)
    except (ValueError, OSError, KeyError) as error:
        sys.exit(f'pretrain_step.py: {error}')
    against = f', against {" ".join(args.against)}' if args.against else ''
    print(f'{Path(args.config).stem}, batch {args.batch}, {args.repeats} runs{against}')
    print(', '.join(f'{name}: {value}' for name, value in facts.items()))
    print(report(found, args))
    common.write_json(args.json, dict(machine=facts, command=sys.argv, **found))


if __name__ == '__main__':
    main()
