"""What of a checkpoint goes where in a module, decided before it is copied."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from .describing import ENCODER, block_numbers
from .tables import Grid, is_sincos_table, is_table, same_table

# What comes after the last block: a pre-training file has one, a fine-tuned
# file the other. Not having a place for one changes nothing before it.
_CLOSING_NORMS = ('norm.', 'fc_norm.', 'ln1.', 'ln2.')


@dataclass
class Plan:
    """What is going to be copied, and what stands in the way."""

    copies: dict[str, Tensor] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    dropped: dict[str, str] = field(default_factory=dict)
    recomputed: dict[str, str] = field(default_factory=dict)
    other_table: bool = False
    lacking: list[str] = field(default_factory=list)
    mismatched: dict[str, tuple] = field(default_factory=dict)
    foreign: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)

    @property
    def fits(self) -> bool:
        """Whether nothing stands in the way."""
        return not (self.lacking or self.mismatched or self.foreign or self.replaced)


def make_plan(
    module: nn.Module,
    state: Mapping[str, Tensor],
    prefix: str,
    allow_missing: Sequence[str],
    extra_blocks: str,
    source_grid: Grid | None,
) -> Plan:
    """Compare a checkpoint with a module; arguments as of ``load_into``.

    Args:
        module (nn.Module): What is going to be filled.
        state (Mapping[str, Tensor]): Weights in our names.
        prefix (str): Beginning of the names that go into the module.
        allow_missing (Sequence[str]): Parts that may stay as they are.
        extra_blocks (str): ``'error'`` or ``'ignore'``.
        source_grid (tuple[int, int, int], optional): Tokens of the file's
            position table.

    Returns:
        Plan: Copied only if it ``fits``.
    """
    plan = Plan()
    targets = module.state_dict(keep_vars=True)
    offered = {}
    for name, given in state.items():
        if name.startswith(prefix):
            offered[name[len(prefix) :]] = given
        else:
            plan.unexpected.append(name)
    for name, target in targets.items():
        tensor = offered.get(name)
        if is_table(name):
            _plan_table(plan, module, name, target, tensor, source_grid, allow_missing)
        elif tensor is not None and tensor.shape == target.shape:
            plan.copies[name] = tensor
        elif _matches(name, allow_missing):
            plan.missing.append(name)
        elif tensor is None:
            plan.lacking.append(name)
        else:
            plan.mismatched[name] = (tuple(tensor.shape), tuple(target.shape))
    inside = ENCODER.removeprefix(prefix)
    depth = len(block_numbers(targets, inside))
    for name in offered:
        if name not in targets:
            _plan_extra(plan, name, inside, depth, extra_blocks)
    return plan


def _plan_table(
    plan: Plan,
    module: nn.Module,
    name: str,
    target: Tensor,
    tensor: Tensor | None,
    source_grid: Grid | None,
    allow_missing: Sequence[str],
) -> None:
    """Decide about a position table of the module."""
    owner = module.get_submodule(name.rpartition('.')[0])
    fixed = not (isinstance(target, nn.Parameter) or getattr(owner, 'takes_position_table', False))
    allowed = _matches(name, allow_missing)
    if fixed:
        _plan_fixed(plan, owner, name, target, tensor, allowed)
    elif tensor is None:
        (plan.missing if allowed else plan.lacking).append(name)
    elif tensor.shape == target.shape:
        plan.copies[name] = tensor
    else:
        _plan_resize(plan, owner, name, target, tensor, source_grid)


def _plan_fixed(
    plan: Plan, owner: nn.Module, name: str, target: Tensor, tensor: Tensor | None, allowed: bool
) -> None:
    """Keep a fixed table, unless that replaces a learned one of the file."""
    if tensor is None or same_table(tensor, target):
        return
    grid = _grid_of(owner, target.shape[1])
    if tensor.shape == target.shape and not allowed and not is_sincos_table(name, tensor, grid):
        plan.replaced.append(name)
        return
    plan.other_table = True
    plan.recomputed[name] = (
        f"kept the model's fixed table {tuple(target.shape)}; the "
        f'file has another, {tuple(tensor.shape)}. Check img_size, '
        'num_frames and pos_embed_type if that is a surprise'
    )


def _plan_resize(
    plan: Plan,
    owner: nn.Module,
    name: str,
    target: Tensor,
    tensor: Tensor,
    source_grid: Grid | None,
) -> None:
    """Resample a position table, or say that it cannot be done."""
    new = _grid_of(owner, target.shape[1])
    extra = getattr(owner, 'num_extra_tokens', 0)  # class tokens come first
    tokens = tensor.shape[1] - extra if tensor.ndim == 3 else 0
    old = source_grid or (_guess_grid(tokens, new) if new else None)
    if (
        new is None
        or old is None
        or tokens <= 0
        or tensor.shape[2] != target.shape[2]
        or tokens != old[0] * old[1] * old[2]
    ):
        plan.mismatched[name] = (tuple(tensor.shape), tuple(target.shape))
        return
    # Imported here: it costs seconds, and few files need it.
    from amd_mm.models.utils import resize_position_table

    tensor = tensor.float()
    places = resize_position_table(tensor[:, extra:], old, new)
    plan.copies[name] = torch.cat([tensor[:, :extra], places], 1)
    plan.recomputed[name] = f'resampled from {old} to {new} tokens'


def _plan_extra(plan: Plan, name: str, encoder: str, depth: int, extra_blocks: str) -> None:
    """Decide about a tensor of the file that the module has no place for."""
    inner = name.removeprefix(encoder)
    block = re.match(r'(?:blocks|layers)\.(\d+)\.', inner)
    if is_table(name):
        plan.recomputed[name] = 'the model computes its own'
    elif not name.startswith(encoder) or inner.startswith(_CLOSING_NORMS):
        plan.unexpected.append(name)
    elif block and int(block.group(1)) >= depth and extra_blocks == 'ignore':
        plan.dropped[name] = f'the model stops after {depth} blocks'
    else:
        plan.foreign.append(name)


def _grid_of(owner: nn.Module, tokens: int) -> Grid | None:
    """Tokens (time, height, width) of a backbone, if it tells."""
    grid = getattr(owner, 'token_grid', None)
    if grid is not None:
        return tuple(grid)
    plane = getattr(owner, 'grid_size', None)  # MMAction2's own backbone
    plane = plane or getattr(owner, 'patch_resolution', None)  # MMPretrain's
    if plane is None:
        return None
    return (tokens // (plane[0] * plane[1]), *plane)


def _guess_grid(tokens: int, like: Grid) -> Grid | None:
    """A square grid with as many tokens in time as ``like``."""
    if tokens <= 0:
        return None
    side = round((tokens / like[0]) ** 0.5)
    return (like[0], side, side) if like[0] * side**2 == tokens else None


def _matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether a name is, is below, or fits one of the patterns."""
    return any(
        name == one or name.startswith(one.rstrip('.') + '.') or fnmatchcase(name, one)
        for one in patterns
    )
