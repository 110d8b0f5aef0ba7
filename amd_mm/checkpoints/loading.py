"""The strict loader: nothing is left out without being named."""

import logging
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import torch
from mmengine.logging import MMLogger, print_log
from mmengine.model import is_model_wrapper
from torch import Tensor, nn

from .errors import CheckpointFormatError, CheckpointMismatchError
from .formats import detect_format, looks_at_images, to_amd_mm, unwrap
from .names import collapse, group_by_reason
from .reading import read_checkpoint

ENCODER = 'backbone.'
# A "format" for messages: no conversion was needed.
OWN_NAMES = "the model's own names"
# What comes after the last block: a pre-training file has one, a fine-tuned
# file the other. Not having a place for one changes nothing before it.
_CLOSING_NORMS = ('norm.', 'fc_norm.', 'ln1.', 'ln2.')
_CLASSIFIERS = ('cls_head.', 'head.')
_SIZES = {192: 'Ti', 384: 'S', 768: 'B', 1024: 'L', 1280: 'H', 1408: 'g'}

Grid = tuple[int, int, int]


@dataclass(frozen=True)
class LoadReport:
    """What came of loading a checkpoint into a module.

    Names are those of the module, except in ``dropped`` (names in the file)
    and ``unexpected`` (our names of what the module has no place for).

    Attributes:
        source (str): The file.
        fmt (str): Its format, a key of :data:`FORMATS` or
            :data:`OWN_NAMES`.
        module (str): Class of the module.
        loaded (tuple[str, ...]): Copied from the file.
        missing (tuple[str, ...]): Not in the file, or there with another
            shape, and allowed to be: left as they were.
        unexpected (tuple[str, ...]): In the file, but not in the module.
        dropped (dict[str, str]): Left out on purpose -> why.
        recomputed (dict[str, str]): Position tables -> what was done.
    """

    source: str
    fmt: str
    module: str
    loaded: tuple[str, ...]
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    dropped: dict[str, str] = field(default_factory=dict)
    recomputed: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """A compact table."""
        rows = [
            ('loaded', len(self.loaded), collapse(self.loaded, True)),
            ('missing', len(self.missing), collapse(self.missing)),
            (
                'unexpected',
                len(self.unexpected),
                collapse(self.unexpected, True),
            ),
        ]
        rows += [
            ('dropped', count, text)
            for count, text in group_by_reason(self.dropped)
        ]
        rows += [
            ('table', 1, f'{name}: {what}')
            for name, what in self.recomputed.items()
        ]
        lines = [
            f'{kind:>10} {count:>4}  {text}'
            for kind, count, text in rows
            if count
        ]
        head = f'{self.source} ({self.fmt}) -> {self.module}'
        return '\n'.join([head, *lines])


@dataclass
class _Plan:
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


def load_encoder(
    backbone: nn.Module,
    source: str | os.PathLike | Mapping[str, Any],
    *,
    allow_missing: Sequence[str] = (),
    extra_blocks: str = 'error',
    source_grid: Grid | None = None,
    prefix: str | None = None,
    fmt: str | None = None,
    unsafe: bool = False,
    logger: MMLogger | str | None = 'current',
) -> LoadReport:
    """Load the encoder of any known checkpoint into a bare backbone.

    A frozen teacher, whose features are taken before the closing norm and
    which stops early, says so::

        load_encoder(teacher, path, allow_missing=('norm', 'fc_norm'),
                     extra_blocks='ignore')

    A backbone that is going to be fine-tuned from pre-training starts with a
    fresh ``fc_norm``: ``allow_missing=('fc_norm', )``.

    Args:
        backbone (nn.Module): With the names of MMAction2's
            ``VisionTransformer``, or for images of MMPretrain's.
        source (str | PathLike | Mapping): A path as in
            :func:`read_checkpoint`, or a checkpoint or state dict.
        allow_missing (Sequence[str]): See :func:`load_into`.
        extra_blocks (str): See :func:`load_into`.
        source_grid (tuple[int, int, int], optional): See :func:`load_into`.
        prefix (str, optional): What the names of the encoder begin with in
            the file, as in MMEngine's ``Pretrained``; needed only if the file
            holds several and this is not ``'backbone.'``.
        fmt (str, optional): See :func:`load_into`.
        unsafe (bool): See :func:`read_checkpoint`.
        logger (MMLogger | str, optional): See :func:`load_into`.

    Returns:
        LoadReport: What was done.

    Raises:
        CheckpointError: As :func:`load_into`, and if nothing in the file has
            this prefix.
    """
    name = None
    if prefix is not None and prefix.rstrip('.') + '.' != ENCODER:
        name, source = _below(source, prefix.rstrip('.') + '.', unsafe)
    return load_into(
        backbone,
        source,
        prefix=ENCODER,
        allow_missing=allow_missing,
        extra_blocks=extra_blocks,
        source_grid=source_grid,
        fmt=fmt,
        unsafe=unsafe,
        name=name,
        logger=logger,
    )


def _below(
    source: str | os.PathLike | Mapping[str, Any], prefix: str, unsafe: bool
) -> tuple[str, dict[str, Tensor]]:
    """The source's name, and its weights whose names have this prefix."""
    if isinstance(source, Mapping):
        name, checkpoint = 'state dict', source
    else:
        name, checkpoint = os.fspath(source), read_checkpoint(source, unsafe)
    state = unwrap(checkpoint)
    chosen = {
        key[len(prefix) :]: tensor
        for key, tensor in state.items()
        if key.startswith(prefix)
    }
    if not chosen:
        raise CheckpointFormatError(
            f'Nothing in {name} is called {prefix}*; it has '
            f'{collapse(state, brief=True)}.'
        )
    return name, chosen


def load_into(
    module: nn.Module,
    source: str | os.PathLike | Mapping[str, Any],
    prefix: str | None = None,
    *,
    allow_missing: Sequence[str] = (),
    extra_blocks: str = 'error',
    source_grid: Grid | None = None,
    fmt: str | None = None,
    unsafe: bool = False,
    name: str | None = None,
    logger: MMLogger | str | None = 'current',
) -> LoadReport:
    """Load a checkpoint of any known format, strictly.

    Every weight of the module must be in the file with the module's shape,
    and every weight of the file's encoder must have a place in the module;
    otherwise nothing is loaded at all. Excepted, and reported:

    - fixed sin-cos tables (buffers): a video ViT keeps its own, an image ViT
      takes the file's, which is not the same in all programs;
    - a position table of another size is resampled, bicubic in space and
      linear in time, when both grids are known;
    - a closing norm of the file (``norm``, ``fc_norm``) that the module does
      not have, and parts outside the encoder that it does not have;
    - what the arguments below allow.

    Args:
        module (nn.Module): A backbone, recogniser or pre-training algorithm.
        source (str | PathLike | Mapping): A path as in
            :func:`read_checkpoint`, or a checkpoint or state dict.
        prefix (str, optional): Beginning of the names, ours, of the part of
            the checkpoint that goes into the module: ``'backbone.'`` for a
            bare backbone, ``''`` for a whole model. By default the second
            when the module has a ``backbone``, else the first.
        allow_missing (Sequence[str]): Parts of the module that may stay as
            they are if the file does not have them, or has them in another
            shape: beginnings of names (``'fc_norm'``, ``'cls_head'``) or
            patterns (``'neck.generators.*.mask_token'``).
        extra_blocks (str): ``'error'``, or ``'ignore'`` to take the first
            blocks of a deeper encoder.
        source_grid (tuple[int, int, int], optional): Tokens (time, height,
            width) of a learned position table in the file. Guessed if it has
            as many tokens in time as the module and is square in space.
        fmt (str, optional): A key of :data:`FORMATS`; when None it is
            recognised, and names that are the module's own stay as they are.
        unsafe (bool): See :func:`read_checkpoint`.
        name (str, optional): What to call the source in messages.
        logger (MMLogger | str, optional): Gets the report; as in
            :func:`mmengine.logging.print_log`, so None is ``print`` and
            ``'silent'`` nothing.

    Returns:
        LoadReport: What was done.

    Raises:
        CheckpointReadError: If the file cannot be read.
        CheckpointFormatError: If it is in no known format, or holds nothing
            for this module.
        CheckpointMismatchError: If it does not fit. The message names what is
            missing, what has another shape, and guesses why.
    """
    if extra_blocks not in ('error', 'ignore'):
        raise ValueError(
            f"extra_blocks must be 'error' or 'ignore', not {extra_blocks!r}."
        )
    if isinstance(source, Mapping):
        name, checkpoint = name or 'state dict', source
    else:
        name = name or os.fspath(source)
        checkpoint = read_checkpoint(source, unsafe)
    if is_model_wrapper(module):
        module = module.module
    if prefix is None:
        prefix = '' if hasattr(module, 'backbone') else ENCODER
    if fmt is None and prefix == '' and _has_own_names(module, checkpoint):
        fmt, state, dropped = OWN_NAMES, unwrap(checkpoint), {}
    else:
        fmt = fmt or detect_format(checkpoint)
        state, dropped = to_amd_mm(checkpoint, fmt)
    plan = _make_plan(
        module, state, prefix, allow_missing, extra_blocks, source_grid
    )
    label = f'{name} ({fmt})'
    if plan.lacking or plan.mismatched or plan.foreign:
        raise _mismatch(label, module, state, prefix, plan)
    if not plan.copies:
        raise CheckpointFormatError(
            f'{label} holds nothing for {type(module).__name__}; it has '
            f'{collapse(state, brief=True)}.'
        )
    _copy(module, plan.copies)
    report = LoadReport(
        source=name,
        fmt=fmt,
        module=type(module).__name__,
        loaded=tuple(plan.copies),
        missing=tuple(plan.missing),
        unexpected=tuple(plan.unexpected),
        dropped={**dropped, **plan.dropped},
        recomputed=plan.recomputed,
    )
    print_log(
        f'Loaded {report}',
        logger=logger,
        level=logging.WARNING if plan.other_table else logging.INFO,
    )
    return report


def _has_own_names(module: nn.Module, checkpoint: Mapping[str, Any]) -> bool:
    """Whether most of a model's own names are in the checkpoint."""
    state = unwrap(checkpoint)
    names = module.state_dict().keys()
    return 2 * sum(one in state for one in names) > len(names)


def _make_plan(
    module: nn.Module,
    state: Mapping[str, Tensor],
    prefix: str,
    allow_missing: Sequence[str],
    extra_blocks: str,
    source_grid: Grid | None,
) -> _Plan:
    plan = _Plan()
    targets = module.state_dict(keep_vars=True)
    offered = {}
    for name, tensor in state.items():
        if name.startswith(prefix):
            offered[name[len(prefix) :]] = tensor
        else:
            plan.unexpected.append(name)
    for name, target in targets.items():
        tensor = offered.get(name)
        if _is_table(name):
            _plan_table(
                plan, module, name, target, tensor, source_grid, allow_missing
            )
        elif tensor is not None and tensor.shape == target.shape:
            plan.copies[name] = tensor
        elif _matches(name, allow_missing):
            plan.missing.append(name)
        elif tensor is None:
            plan.lacking.append(name)
        else:
            plan.mismatched[name] = (tuple(tensor.shape), tuple(target.shape))
    inside = ENCODER.removeprefix(prefix)
    depth = len(_blocks(targets, inside))
    for name in offered:
        if name not in targets:
            _plan_extra(plan, name, inside, depth, extra_blocks)
    return plan


def _plan_table(
    plan: _Plan,
    module: nn.Module,
    name: str,
    target: Tensor,
    tensor: Tensor | None,
    source_grid: Grid | None,
    allow_missing: Sequence[str],
) -> None:
    """Decide about a position table of the module."""
    owner = module.get_submodule(name.rpartition('.')[0])
    fixed = not (
        isinstance(target, nn.Parameter)
        or getattr(owner, 'takes_position_table', False)
    )
    if fixed:
        if tensor is not None and not _same_table(tensor, target):
            plan.other_table = True
            plan.recomputed[name] = (
                f"kept the model's fixed table {tuple(target.shape)}; the "
                f'file has another, {tuple(tensor.shape)}. Check img_size, '
                'num_frames and pos_embed_type if that is a surprise'
            )
    elif tensor is None:
        (
            plan.missing if _matches(name, allow_missing) else plan.lacking
        ).append(name)
    elif tensor.shape == target.shape:
        plan.copies[name] = tensor
    else:
        _plan_resize(plan, owner, name, target, tensor, source_grid)


def _plan_resize(
    plan: _Plan,
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
    fits = (
        new is not None
        and old is not None
        and tokens > 0
        and tensor.shape[2] == target.shape[2]
        and tokens == old[0] * old[1] * old[2]
    )
    if not fits:
        plan.mismatched[name] = (tuple(tensor.shape), tuple(target.shape))
        return
    # Imported here: it costs seconds, and few files need it.
    from amd_mm.models.utils import resize_position_table

    tensor = tensor.float()
    places = resize_position_table(tensor[:, extra:], old, new)
    plan.copies[name] = torch.cat([tensor[:, :extra], places], 1)
    plan.recomputed[name] = f'resampled from {old} to {new} tokens'


def _plan_extra(
    plan: _Plan, name: str, encoder: str, depth: int, extra_blocks: str
) -> None:
    """Decide about a tensor of the file that the module has no place for."""
    inner = name.removeprefix(encoder)
    block = re.match(r'(?:blocks|layers)\.(\d+)\.', inner)
    if _is_table(name):
        plan.recomputed[name] = 'the model computes its own'
    elif not name.startswith(encoder) or inner.startswith(_CLOSING_NORMS):
        plan.unexpected.append(name)
    elif block and int(block.group(1)) >= depth and extra_blocks == 'ignore':
        plan.dropped[name] = f'the model stops after {depth} blocks'
    else:
        plan.foreign.append(name)


def _is_table(name: str) -> bool:
    return name.rpartition('.')[2] == 'pos_embed'


def _same_table(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(
        one.float().cpu(), other.detach().float().cpu(), atol=1e-3
    )


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
        name == one
        or name.startswith(one.rstrip('.') + '.')
        or fnmatchcase(name, one)
        for one in patterns
    )


@torch.no_grad()
def _copy(module: nn.Module, copies: Mapping[str, Tensor]) -> None:
    targets = module.state_dict(keep_vars=True)
    for name, tensor in copies.items():
        targets[name].copy_(tensor)


def _blocks(names: Iterable[str], encoder: str) -> set[int]:
    """Numbers of the encoder's blocks."""
    pattern = re.compile(re.escape(encoder) + r'(?:blocks|layers)\.(\d+)\.')
    found = filter(None, map(pattern.match, names))
    return {int(one.group(1)) for one in found}


def describe_encoder(
    state: Mapping[str, Tensor], prefix: str = ENCODER
) -> str:
    """An encoder in a few words: "ViT-B: 12 blocks, 768 wide, ...".

    Args:
        state (Mapping[str, Tensor]): Weights in our names.
        prefix (str): What the encoder's names begin with.

    Returns:
        str: Depth, width, patch (frames x height x width, or height x width
        for images) and channels.
    """
    depth = len(_blocks(state, prefix))
    patch = state.get(f'{prefix}patch_embed.projection.weight')
    if patch is None or patch.ndim not in (4, 5):
        return f'{depth} blocks, no patch embedding'
    width, channels, *size = patch.shape
    kind = f'ViT-{_SIZES[width]}' if width in _SIZES else 'ViT'
    return (
        f'{kind}: {depth} blocks, {width} wide, patch '
        f'{"x".join(map(str, size))}, {channels} channels'
    )


def _mismatch(
    label: str,
    module: nn.Module,
    state: Mapping[str, Tensor],
    prefix: str,
    plan: _Plan,
) -> CheckpointMismatchError:
    """The error for a checkpoint that does not fit."""
    targets = module.state_dict()
    images = looks_at_images(state), looks_at_images(targets)
    if None not in images and images[0] != images[1]:
        kinds = ['an image ViT' if one else 'a video ViT' for one in images]
        theirs = describe_encoder(state)
        ours = describe_encoder(targets, ENCODER.removeprefix(prefix))
        return CheckpointMismatchError(
            f'{label} holds {kinds[0]} ({theirs}), and '
            f'{type(module).__name__} is {kinds[1]} ({ours}); nothing was '
            'loaded. Give a checkpoint of the other kind.',
            tuple(plan.lacking),
            plan.mismatched,
            tuple(plan.foreign),
        )
    lines = [
        f'{label} does not fit {type(module).__name__}; nothing was loaded.'
    ]
    if plan.lacking:
        lines.append(
            f'missing in the file ({len(plan.lacking)}): '
            f'{collapse(plan.lacking)}'
        )
    if plan.mismatched:
        lines.append(f'of another shape ({len(plan.mismatched)}):')
        grouped: dict[tuple, list[str]] = {}
        for name, shapes in plan.mismatched.items():
            grouped.setdefault((*shapes, _numberless(name)), []).append(name)
        lines += [
            f'  {collapse(names)}: file {one}, model {other}'
            for (one, other, _), names in grouped.items()
        ]
    if plan.foreign:
        lines.append(
            'in the file, without a place in the model '
            f'({len(plan.foreign)}): {collapse(plan.foreign)}'
        )
    inside = ENCODER.removeprefix(prefix)
    theirs, ours = describe_encoder(state), describe_encoder(targets, inside)
    lines.append(f'The file has {theirs}; the model {ours}.')
    lines += _hints(
        plan, len(_blocks(state, ENCODER)), len(_blocks(targets, inside))
    )
    return CheckpointMismatchError(
        '\n'.join(lines),
        tuple(plan.lacking),
        plan.mismatched,
        tuple(plan.foreign),
    )


def _hints(plan: _Plan, their_depth: int, our_depth: int) -> list[str]:
    """What to do about it, where that can be guessed."""
    hints = []
    if _class_tokens(plan.foreign):
        hints.append(
            'The file has a class token, the model none: set the '
            "model's with_cls_token=True."
        )
    elif _class_tokens(plan.lacking):
        hints.append(
            'The model has a class token, the file none: set the '
            "model's with_cls_token=False."
        )
    elif plan.mismatched and all(
        name.startswith(_CLASSIFIERS) for name in plan.mismatched
    ):
        file, model = next(iter(plan.mismatched.values()))
        hints.append(
            f'The file tells {file[0]} classes apart, the model '
            f'{model[0]}: set num_classes={file[0]} of the head, '
            'or give the file that was trained for this config.'
        )
    elif plan.mismatched:
        hints.append(
            "Give a file of the model's size, or set the model's "
            'embed_dims, depth, patch_size, tubelet_size and '
            "in_channels to the file's."
        )
    elif their_depth > our_depth and plan.foreign:
        hints.append(
            f"extra_blocks='ignore' takes the first {our_depth} blocks."
        )
    tops = sorted({_part(name) for name in plan.lacking})
    if plan.lacking and not any(
        one.endswith(('blocks', 'layers')) for one in tops
    ):
        hints.append(
            f'If {", ".join(tops)} may start fresh, allow it: '
            f'allow_missing={tuple(tops)!r}.'
        )
    return hints


def _class_tokens(names: Iterable[str]) -> bool:
    return any(name.rpartition('.')[2] == 'cls_token' for name in names)


def _part(name: str) -> str:
    """The part of a model that a name belongs to."""
    pieces = name.split('.')
    return '.'.join(pieces[:2] if pieces[0] == 'backbone' else pieces[:1])


def _numberless(name: str) -> str:
    return re.sub(r'\.\d+(?=\.)', '.*', name)
