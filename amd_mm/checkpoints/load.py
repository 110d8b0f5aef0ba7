"""The strict loader: every weight is loaded, or its name is reported."""

import logging
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import torch
from amd_mm.errors import CheckpointError
from mmengine.logging import MMLogger, print_log
from mmengine.model import is_model_wrapper
from torch import Tensor, nn

from .convert import Converted, Grid, grid_of_table, is_table, same_table, to_amd_mm
from .describe import collapse, describe_encoder, group_by_reason
from .formats import detect_format, is_image_vit, is_rotary, unwrap
from .io import read_checkpoint

ENCODER = 'backbone.'
# The norms after the last block: a pre-training file has one, a fine-tuned file the other. A norm
# that the module lacks is ignored, because it changes nothing in the blocks before.
_CLOSING_NORMS = ('norm.', 'fc_norm.', 'ln1.', 'ln2.')
_HEADS = ('cls_head.', 'head.')
_KEPT = "kept the model's fixed table"
OWN_NAMES = "the model's own names"  # the format in messages if no name was converted

Source = str | os.PathLike | Mapping[str, Any]


@dataclass
class LoadReport:
    """The result of loading a checkpoint into a module; ``str`` gives a table.

    Names are those of the module, except in ``dropped`` (the file's) and ``unexpected`` (ours).

    Attributes:
        source: The file.
        fmt: Its format, a key of :data:`FORMATS` or :data:`OWN_NAMES`.
        module: Class of the module.
        loaded: Copied from the file.
        missing: Not in the file, or there in another shape, as ``allow_missing`` permits.
        unexpected: In the file, but not in the module.
        dropped: Left out -> reason.
        recomputed: Position tables that were resampled or kept -> explanation.
    """

    source: str
    fmt: str
    module: str
    loaded: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    dropped: dict[str, str] = field(default_factory=dict)
    recomputed: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        rows = [
            ('loaded', len(self.loaded), collapse(self.loaded, brief=True)),
            ('missing', len(self.missing), collapse(self.missing)),
            ('unexpected', len(self.unexpected), collapse(self.unexpected, brief=True)),
        ]
        rows += [('dropped', count, text) for count, text in group_by_reason(self.dropped)]
        rows += [('table', 1, f'{name}: {text}') for name, text in self.recomputed.items()]
        lines = [f'{kind:>10} {count:>4}  {text}' for kind, count, text in rows if count]
        return '\n'.join([f'{self.source} ({self.fmt}) -> {self.module}', *lines])


@dataclass
class _Mismatch:
    """Weights that do not fit."""

    missing: list[str] = field(default_factory=list)  # not in the file
    shapes: dict[str, tuple] = field(default_factory=dict)  # name -> (file's shape, module's)
    unexpected: list[str] = field(default_factory=list)  # parts of the encoder not in the module
    tables: dict[str, tuple] = field(default_factory=dict)  # name -> (file's kind, module's)


class CheckpointMismatchError(CheckpointError):
    """The weights do not fit the module. The message names the first of them, attributes all.

    Attributes:
        missing: Weights of the module that are not in the file.
        mismatched: Name -> (shape in the file, shape in the module).
        unexpected: Encoder weights of the file that the module lacks.
    """

    def __init__(self, message: str, found: _Mismatch) -> None:
        super().__init__(message)
        self.missing = tuple(found.missing)
        self.mismatched = found.shapes
        self.unexpected = tuple(found.unexpected)


def load_encoder(
    backbone: nn.Module,
    source: Source,
    *,
    allow_missing: Sequence[str] = (),
    prefix: str | None = None,
    remedy: str | None = None,
    logger: MMLogger | str | None = 'current',
) -> LoadReport:
    """Load the encoder of a checkpoint into a backbone, strictly.

    A backbone that is fine-tuned after pre-training needs ``allow_missing=('fc_norm',)``.

    Args:
        backbone: In the names of MMAction2's ``VisionTransformer``, or for images of MMPretrain's.
        source: See :func:`load_into`.
        allow_missing: See :func:`load_into`.
        remedy: See :func:`load_into`.
        logger: See :func:`load_into`.
        prefix: Beginning of the encoder's names in the file, as in MMEngine's ``Pretrained``. Only
            needed if the file holds several encoders and this one is not ``'backbone.'``.

    Raises:
        CheckpointError: As :func:`load_into`, and if no name in the file has the prefix.
    """
    name, checkpoint = _read(source)
    prefix = prefix and prefix.rstrip('.') + '.'
    if prefix not in (None, ENCODER):
        state = unwrap(checkpoint)
        checkpoint = {
            key.removeprefix(prefix): state[key] for key in state if key.startswith(prefix)
        }
        if not checkpoint:
            raise CheckpointError(
                f'No name in {name} begins with {prefix}; it has {collapse(state, brief=True)}.'
            )
    return load_into(
        backbone,
        checkpoint,
        prefix=ENCODER,
        allow_missing=allow_missing,
        name=name,
        remedy=remedy,
        logger=logger,
    )


def load_into(
    module: nn.Module,
    source: Source,
    prefix: str | None = None,
    *,
    allow_missing: Sequence[str] = (),
    fmt: str | None = None,
    name: str | None = None,
    remedy: str | None = None,
    logger: MMLogger | str | None = 'current',
) -> LoadReport:
    """Load a checkpoint of any known format into a module, strictly.

    The file must have every weight of the module in its shape, and the module every weight of the
    file's encoder. Otherwise nothing is loaded. Exceptions, all of them reported:

    - A fixed sin-cos table is kept by a video ViT, and taken from the file by an image ViT. A table
      of the file that is learned or of another kind than the module's fixed one does not fit.
    - A learned position table of another size is resampled, bicubic in space and linear in time,
      if its grid differs in space only and is square, or differs in time only.
    - A closing norm of the file (``norm``, ``fc_norm``) and parts outside of the encoder may be
      absent from the module.

    Args:
        module: A backbone, a recogniser or a pre-training algorithm.
        source: A path as in :func:`read_checkpoint`, a checkpoint, or a state dict.
        prefix: Beginning of the names (ours) that belong to the module: ``'backbone.'`` for a
            backbone, ``''`` for a whole model. Default: ``''`` if the module has a ``backbone``.
        allow_missing: Weights of the module that may keep their values if the file lacks them or
            has them in another shape (a fixed position table: if the file has a table of another
            kind): beginnings of names (``'fc_norm'``) or patterns
            (``'neck.generators.*.mask_token'``).
        fmt: A key of :data:`FORMATS`. Default: recognised; names of the module's own are kept.
        name: Name of the source in messages.
        remedy: Advice that ends the message of an error about missing weights. Default: which
            ``allow_missing`` permits them.
        logger: Receives the report, see :func:`mmengine.logging.print_log`.

    Raises:
        CheckpointError: If the file cannot be read, is in no known format, or has nothing for the
            module.
        CheckpointMismatchError: If it does not fit. The message names the first few weights that
            are missing or have another shape, and a remedy.
    """
    path, checkpoint = _read(source)
    name = name or path
    if is_model_wrapper(module):
        module = module.get_submodule('module')
    if prefix is None:
        prefix = '' if hasattr(module, 'backbone') else ENCODER
    if fmt is None and prefix == '' and _has_own_names(module, checkpoint):
        fmt = OWN_NAMES
        state, dropped = Converted(unwrap(checkpoint), {})
    else:
        try:
            fmt = fmt or detect_format(checkpoint)
        except CheckpointError as error:
            raise CheckpointError(f'{name}: {error}') from error
        state, dropped = to_amd_mm(checkpoint, fmt)
    report = LoadReport(name, fmt, type(module).__name__, dropped=dropped)
    copies, bad = _compare(module, state, prefix, allow_missing, report)
    if bad != _Mismatch():
        text = _explain(module, state, ENCODER.removeprefix(prefix), bad, remedy)
        raise CheckpointMismatchError(f'{name} ({fmt}) {text}', bad)
    if not copies:
        raise CheckpointError(
            f'{name} ({fmt}) holds nothing for {report.module}; it has '
            f'{collapse(state, brief=True)}.'
        )
    targets = module.state_dict(keep_vars=True)
    with torch.no_grad():
        for key, tensor in copies.items():
            targets[key].copy_(tensor)
    report.loaded += copies
    other_grid = any(text.startswith(_KEPT) for text in report.recomputed.values())
    level = logging.WARNING if other_grid else logging.INFO
    print_log(f'Loaded {report}', logger=logger, level=level)
    return report


def _read(source: Source) -> tuple[str, Mapping[str, Any]]:
    if isinstance(source, Mapping):
        return 'state dict', source
    return os.fspath(source), read_checkpoint(source)


def _has_own_names(module: nn.Module, checkpoint: Mapping[str, Any]) -> bool:
    """Whether most of a model's own names are in the checkpoint."""
    state, names = unwrap(checkpoint), module.state_dict().keys()
    if 'backbone.patch_embed.proj.weight' in state:  # V-JEPA 2 shares most of our names
        return False
    return 2 * sum(one in state for one in names) > len(names)


# -- comparison of a file with a module --------------------------------------------------------


def _compare(
    module: nn.Module,
    state: Mapping[str, Tensor],
    prefix: str,
    allow_missing: Sequence[str],
    report: LoadReport,
) -> tuple[dict[str, Tensor], _Mismatch]:
    """The weights to copy, and those that do not fit; fills in the report."""
    encoder = ENCODER.removeprefix(prefix)
    report.unexpected += [name for name in state if not name.startswith(prefix)]
    given = {
        name.removeprefix(prefix): one for name, one in state.items() if name.startswith(prefix)
    }
    copies, bad = {}, _Mismatch()
    targets = module.state_dict(keep_vars=True)
    for name, target in targets.items():
        tensor = given.get(name)
        if is_table(name):
            owner = module.get_submodule(name.rpartition('.')[0])
            fixed = not isinstance(target, nn.Parameter)
            if fixed and not getattr(owner, 'takes_position_table', False):
                continue
            if tensor is not None:
                tensor = _resample(report, name, owner, target, tensor)
        if tensor is not None and tensor.shape == target.shape:
            copies[name] = tensor
        elif _is_allowed(name, allow_missing):
            report.missing.append(name)
        elif tensor is None:
            bad.missing.append(name)
        else:
            bad.shapes[name] = (tuple(tensor.shape), tuple(target.shape))
    for name, tensor in given.items():
        if name in copies or name in bad.shapes or name in report.missing:
            continue
        own = _fixed_table(module, name) if is_table(name) else None
        if own is not None:
            grid = _grid_of(getattr(module, 'backbone', module), own)
            text, kinds = _compare_tables(own, tensor, grid)
            if kinds and not _is_allowed(name, allow_missing):
                bad.tables[name] = kinds
            elif text or name not in targets:
                report.recomputed[name] = text or 'the model computes the same'
        elif not name.startswith(encoder) or name[len(encoder) :].startswith(_CLOSING_NORMS):
            report.unexpected.append(name)
        else:
            bad.unexpected.append(name)
    return copies, bad


def _is_allowed(name: str, patterns: Iterable[str]) -> bool:
    """Whether a name equals, is below, or matches one of the patterns."""
    return any(
        name == one or name.startswith(one.rstrip('.') + '.') or fnmatchcase(name, one)
        for one in patterns
    )


def _fixed_table(module: nn.Module, name: str) -> Tensor | None:
    """The fixed table of an encoder, or of a decoder, which is not in its state dict."""
    path, _, attribute = name.rpartition('.')
    try:
        return getattr(module.get_submodule(path), attribute, None)
    except AttributeError:
        return None


def _compare_tables(
    own: Tensor,  # (1, N, C)
    given: Tensor,  # (1, N, C); a class token may come first
    grid: Grid | None,
) -> tuple[str, tuple[str, str] | None]:
    """The report of a fixed table that is kept, and both kinds if the file has another one."""
    extra = given.shape[1] - own.shape[1] if given.ndim == 3 else 0
    if same_table(given[:, extra:] if extra == 1 else given, own):
        return '', None
    from amd_mm.models.utils import POSITION_TABLES  # slow to import, and seldom needed

    theirs, ours = (
        next((kind for kind in POSITION_TABLES if grid_of_table(table, kind, grid)), 'learned')
        for table in (given, own)
    )
    text = (
        f'{_KEPT} {tuple(own.shape)}; the file has another, {tuple(given.shape)}. Check img_size, '
        'num_frames and pos_embed_type'
    )
    return text, None if theirs == ours != 'learned' else (theirs, ours)


def _resample(
    report: LoadReport, name: str, owner: nn.Module, target: Tensor, given: Tensor
) -> Tensor:
    """A position table in the shape of the target, or unchanged if the grids are not known."""
    new = _grid_of(owner, target)
    extra = getattr(owner, 'num_extra_tokens', 0)  # class tokens come first
    if given.shape == target.shape or new is None or given.ndim != 3:
        return given
    tokens = given.shape[1] - extra
    side = math.isqrt(max(tokens, 0) // new[0])
    old = (new[0], side, side)
    if math.prod(old) != tokens:
        old = (tokens // math.prod(new[1:]), *new[1:])
    if tokens <= 0 or math.prod(old) != tokens or given.shape[2] != target.shape[2]:
        return given
    from amd_mm.models.utils import resize_position_table  # slow to import, and seldom needed

    given = given.float()
    places = resize_position_table(given[:, extra:], old, new)
    report.recomputed[name] = f'resampled from {old} to {new} tokens'
    return torch.cat([given[:, :extra], places], 1)


def _grid_of(backbone: nn.Module, table: Tensor) -> Grid | None:
    """Tokens (time, height, width) of a backbone, None if unknown."""
    grid = getattr(backbone, 'token_grid', None)
    if grid is not None:
        return grid
    plane = getattr(backbone, 'grid_size', None)  # of MMAction2's ViT
    plane = plane or getattr(backbone, 'patch_resolution', None)  # of MMPretrain's
    return (table.shape[1] // (plane[0] * plane[1]), *plane) if plane else None


# -- the message of an error -------------------------------------------------------------------


def _explain(
    module: nn.Module, state: Mapping[str, Tensor], encoder: str, bad: _Mismatch, remedy: str | None
) -> str:
    """Name the first weights that do not fit, and the remedy."""
    model, targets = type(module).__name__, module.state_dict()
    mine, theirs = describe_encoder(targets, encoder), describe_encoder(state)
    images = is_image_vit(state), is_image_vit(targets)
    if None not in images and images[0] != images[1]:
        kinds = ['an image ViT' if one else 'a video ViT' for one in images]
        return (
            f'holds {kinds[0]} ({theirs}), and {model} is {kinds[1]} ({mine}); nothing was loaded. '
            'Give a checkpoint of the other kind.'
        )
    if is_rotary(state) and not is_rotary(targets):
        return (
            f'holds a V-JEPA 2 ({theirs}), which has rotary positions, and {model} adds a position '
            f'table ({mine}), with which the weights are useless; nothing was loaded. Set the '
            "model's pos_embed_type='rope_3d'. (If the file is of another ViT, with a fixed table "
            'that is not in it: convert it with tools/convert_checkpoint.py --from timm_video.)'
        )
    if is_rotary(targets) and not is_rotary(state):
        return (
            f'holds a ViT without rotary positions ({theirs}), and {model} has them ({mine}); '
            "nothing was loaded. Leave out the model's pos_embed_type='rope_3d', or give a file of "
            'V-JEPA 2.'
        )
    lines = [f'does not fit {model}; nothing was loaded.']
    if bad.missing:
        lines.append(f'missing in the file ({len(bad.missing)}): {_first(bad.missing)}')
    if bad.shapes:
        lines += _list_shapes(bad.shapes)
    if bad.unexpected:
        lines.append(f'not in the model ({len(bad.unexpected)}): {_first(bad.unexpected)}')
    for name, (kind, own) in bad.tables.items():
        own = 'fixed' if own == 'learned' else own  # none of ours
        lines.append(f'{kind} position table in the file, {own} in the model: {name}')
    if mine != theirs:
        lines.append(f'The file has {theirs}; the model {mine}.')
    lines += _config_remedies(bad, encoder, same_size=mine == theirs)
    if remedy is not None:
        return '\n'.join([*lines, remedy])
    patterns = _patterns(bad.missing, targets)
    patterns += tuple(name for name in bad.tables if name.startswith('decoder.'))
    if patterns and not any(re.search(r'(blocks|layers)\b', one) for one in patterns):
        lines.append(
            f'If {", ".join(patterns)} may keep the initial values: allow_missing={patterns!r}.'
        )
    return '\n'.join(lines)


def _first(names: Iterable[str], limit: int = 4) -> str:
    """The first few weights, those of all blocks as one."""
    groups = collapse(names).split(', ')
    return ', '.join(groups[:limit]) + (' and others' if len(groups) > limit else '')


def _list_shapes(mismatched: Mapping[str, tuple], limit: int = 4) -> list[str]:
    """The first few weights of another shape, those of all blocks in one line."""
    groups: dict[tuple, list[str]] = {}
    for name, shapes in mismatched.items():
        groups.setdefault((*shapes, _any_number(name)), []).append(name)
    shown = list(groups.items())[:limit]
    lines = [f'of another shape ({len(mismatched)}):']
    lines += [
        f'  {collapse(names)}: file {theirs}, model {ours}' for (theirs, ours, _), names in shown
    ]
    more = len(mismatched) - sum(len(names) for _, names in shown)
    return [*lines, f'  and {more} more'] if more else lines


def _config_remedies(bad: _Mismatch, encoder: str, same_size: bool) -> list[str]:
    """Keys of the config that can make a model fit."""
    lines = []
    if any(name.endswith('cls_token') for name in bad.unexpected):
        lines.append('The model has no class token: set its with_cls_token=True.')
    elif any(name.endswith('cls_token') for name in bad.missing):
        lines.append("The file has no class token: set the model's with_cls_token=False.")
    elif bad.shapes and all(one.startswith(_HEADS) for one in bad.shapes):
        (theirs, *_), (ours, *_) = next(iter(bad.shapes.values()))
        lines.append(
            f'The file distinguishes {theirs} classes, the model {ours}: set num_classes={theirs} '
            'of the head, or give the file that was trained for this config.'
        )
    elif bad.shapes and all(one.endswith('pos_embed') for one in bad.shapes):
        lines.append(
            "The file's position table is for other clips: set the model's img_size and num_frames "
            'to those it was trained with.'
        )
    elif bad.shapes or not (same_size or bad.tables):
        lines.append(
            "Give a file of the model's size, or set the model's embed_dims, depth, patch_size, "
            "tubelet_size and in_channels to the file's."
        )
    kind, _ = bad.tables.get(f'{encoder}pos_embed', (None, None))
    if kind is not None:
        key = 'use_learnable_pos_emb=True' if kind == 'learned' else f'pos_embed_type={kind!r}'
        lines.append(f"Set the model's {key}.")
    return lines


def _patterns(lacking: Sequence[str], targets: Iterable[str]) -> tuple[str, ...]:
    """Values of ``allow_missing`` that permit the missing weights: whole parts, or single names."""
    present = set(targets) - set(lacking)
    patterns = set()
    for name in lacking:
        parts = name.split('.')
        parents = ['.'.join(parts[:count]) for count in range(1, len(parts))]
        whole = (one for one in parents if not any(key.startswith(f'{one}.') for key in present))
        patterns.add(_any_number(next(whole, name)))
    return tuple(sorted(patterns))


def _any_number(name: str) -> str:
    return re.sub(r'\.\d+(?=\.|$)', '.*', name)
