"""The strict loader: every weight is loaded, or its name is reported.

A checkpoint is compared with the module first (:func:`_compare`). Only if everything fits, weights
are copied.
"""

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

from .convert import Converted, Grid, is_sincos_table, is_table, same_table, to_amd_mm
from .formats import detect_format, is_image_vit, unwrap
from .io import read_checkpoint
from .messages import collapse, count_blocks, describe_encoder, explain_mismatch, group_by_reason

ENCODER = 'backbone.'
OWN_NAMES = "the model's own names"  # the format in messages if no name was converted
# The norms after the last block: a pre-training file has one, a fine-tuned file the other. A norm
# that the module lacks is ignored, because it changes nothing in the blocks before.
_CLOSING_NORMS = ('norm.', 'fc_norm.', 'ln1.', 'ln2.')

Source = str | os.PathLike | Mapping[str, Any]


class CheckpointMismatchError(CheckpointError):
    """The weights do not fit the module.

    Attributes:
        missing: Weights of the module that are not in the file.
        mismatched: Name -> (shape in the file, shape in the module).
        unexpected: Encoder weights of the file that the module lacks.
    """

    def __init__(
        self,
        message: str,
        missing: Sequence[str] = (),
        mismatched: Mapping[str, tuple] | None = None,
        unexpected: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.missing = tuple(missing)
        self.mismatched = dict(mismatched or {})
        self.unexpected = tuple(unexpected)


@dataclass(frozen=True)
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
    loaded: tuple[str, ...]
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
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


def load_encoder(
    backbone: nn.Module,
    source: Source,
    *,
    allow_missing: Sequence[str] = (),
    extra_blocks: str = 'error',
    prefix: str | None = None,
    fmt: str | None = None,
    logger: MMLogger | str | None = 'current',
) -> LoadReport:
    """Load the encoder of a checkpoint into a backbone, strictly.

    A backbone that is fine-tuned after pre-training needs ``allow_missing=('fc_norm',)``; a
    teacher that stops early needs ``extra_blocks='ignore'``, and no norm.

    Args:
        backbone: In the names of MMAction2's ``VisionTransformer``, or for images of MMPretrain's.
        source: See :func:`load_into`.
        allow_missing: See :func:`load_into`.
        extra_blocks: See :func:`load_into`.
        fmt: See :func:`load_into`.
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
        extra_blocks=extra_blocks,
        fmt=fmt,
        name=name,
        logger=logger,
    )


def load_into(
    module: nn.Module,
    source: Source,
    prefix: str | None = None,
    *,
    allow_missing: Sequence[str] = (),
    extra_blocks: str = 'error',
    fmt: str | None = None,
    name: str | None = None,
    remedy: str | None = None,
    logger: MMLogger | str | None = 'current',
) -> LoadReport:
    """Load a checkpoint of any known format into a module, strictly.

    The file must have every weight of the module in its shape, and the module every weight of the
    file's encoder. Otherwise nothing is loaded. Exceptions, all of them reported:

    - A fixed sin-cos table is kept by a video ViT, and taken from the file by an image ViT. If the
      file has a learned table where the module keeps a fixed one, it does not fit.
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
            has them in another shape (for a fixed position table: if the file has a learned one):
            beginnings of names (``'fc_norm'``) or patterns (``'neck.generators.*.mask_token'``).
        extra_blocks: ``'error'``, or ``'ignore'`` to take the first blocks of a deeper encoder.
        fmt: A key of :data:`FORMATS`. Default: recognised; names of the module's own are kept.
        name: Name of the source in messages.
        remedy: Advice that ends the message of an error about missing weights. Default: which
            ``allow_missing`` permits them.
        logger: Receives the report, see :func:`mmengine.logging.print_log`.

    Raises:
        CheckpointError: If the file cannot be read, is in no known format, or has nothing for the
            module.
        CheckpointMismatchError: If it does not fit. The message names what is missing or has
            another shape, and a remedy.
        ValueError: If ``extra_blocks`` is neither.
    """
    if extra_blocks not in ('error', 'ignore'):
        raise ValueError(f"extra_blocks must be 'error' or 'ignore', not {extra_blocks!r}.")
    found, checkpoint = _read(source)
    name = name or found
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
    result = _compare(module, state, prefix, allow_missing, extra_blocks)
    if not result.fits:
        raise _mismatch(f'{name} ({fmt})', module, state, prefix, result, remedy)
    if not result.copies:
        raise CheckpointError(
            f'{name} ({fmt}) holds nothing for {type(module).__name__}; it has '
            f'{collapse(state, brief=True)}.'
        )
    targets = module.state_dict(keep_vars=True)
    with torch.no_grad():
        for key, tensor in result.copies.items():
            targets[key].copy_(tensor)
    report = LoadReport(
        source=name,
        fmt=fmt,
        module=type(module).__name__,
        loaded=tuple(result.copies),
        missing=tuple(result.missing),
        unexpected=tuple(result.unexpected),
        dropped={**dropped, **result.dropped},
        recomputed=result.recomputed,
    )
    level = logging.WARNING if result.other_table else logging.INFO
    print_log(f'Loaded {report}', logger=logger, level=level)
    return report


def _read(source: Source) -> tuple[str, Mapping[str, Any]]:
    if isinstance(source, Mapping):
        return 'state dict', source
    return os.fspath(source), read_checkpoint(source)


def _has_own_names(module: nn.Module, checkpoint: Mapping[str, Any]) -> bool:
    """Whether most of a model's own names are in the checkpoint."""
    state, names = unwrap(checkpoint), module.state_dict().keys()
    return 2 * sum(one in state for one in names) > len(names)


@dataclass
class _Comparison:
    """Weights to copy, weights to report, and weights that do not fit."""

    copies: dict[str, Tensor] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    dropped: dict[str, str] = field(default_factory=dict)
    recomputed: dict[str, str] = field(default_factory=dict)
    other_table: bool = False  # the file has another fixed table than the module
    # These do not fit:
    lacking: list[str] = field(default_factory=list)  # not in the file
    mismatched: dict[str, tuple] = field(default_factory=dict)  # name -> (file's shape, module's)
    foreign: list[str] = field(default_factory=list)  # parts of the encoder not in the module
    learned: list[str] = field(default_factory=list)  # learned tables; the module's are fixed

    @property
    def fits(self) -> bool:
        return not (self.lacking or self.mismatched or self.foreign or self.learned)


def _compare(
    module: nn.Module,
    state: Mapping[str, Tensor],
    prefix: str,
    allow_missing: Sequence[str],
    extra_blocks: str,
) -> _Comparison:
    """Compare weights in our names with a module; arguments as in :func:`load_into`."""
    result = _Comparison()
    given = {}
    for name, tensor in state.items():
        if name.startswith(prefix):
            given[name.removeprefix(prefix)] = tensor
        else:
            result.unexpected.append(name)
    targets = module.state_dict(keep_vars=True)
    for name, target in targets.items():
        allowed = _is_allowed(name, allow_missing)
        _compare_target(result, module, name, target, given.get(name), allowed)
    encoder = ENCODER.removeprefix(prefix)
    depth = count_blocks(targets, encoder)
    for name, tensor in given.items():
        if name in targets:
            continue
        inner = name.removeprefix(encoder)
        block = re.match(r'(?:blocks|layers)\.(\d+)\.', inner)
        own = _unsaved_table(module, name) if is_table(name) else None
        if own is not None:
            grid = _grid_of(getattr(module, 'backbone', module), own)
            result.recomputed[name] = 'the model computes the same'
            _keep_table(result, name, own, tensor, grid, _is_allowed(name, allow_missing))
        elif not name.startswith(encoder) or inner.startswith(_CLOSING_NORMS):
            result.unexpected.append(name)
        elif block and int(block.group(1)) >= depth and extra_blocks == 'ignore':
            result.dropped[name] = f'the model stops after {depth} blocks'
        else:
            result.foreign.append(name)
    return result


def _compare_target(
    result: _Comparison,
    module: nn.Module,
    name: str,
    target: Tensor,
    given: Tensor | None,
    allowed: bool,
) -> None:
    """Compare one weight of the module with the file's."""
    if is_table(name):
        owner = module.get_submodule(name.rpartition('.')[0])
        takes_table = getattr(owner, 'takes_position_table', False)
        if not isinstance(target, nn.Parameter) and not takes_table:
            if given is not None:
                _keep_table(result, name, target, given, _grid_of(owner, target), allowed)
            return
        if given is not None:
            given = _resample(result, name, owner, target, given)
    if given is not None and given.shape == target.shape:
        result.copies[name] = given
    elif allowed:
        result.missing.append(name)
    elif given is None:
        result.lacking.append(name)
    else:
        result.mismatched[name] = (tuple(given.shape), tuple(target.shape))


def _is_allowed(name: str, patterns: Iterable[str]) -> bool:
    """Whether a name equals, is below, or matches one of the patterns."""
    return any(
        name == one or name.startswith(one.rstrip('.') + '.') or fnmatchcase(name, one)
        for one in patterns
    )


def _unsaved_table(module: nn.Module, name: str) -> Tensor | None:
    """The fixed table of a decoder, which is not in its state dict."""
    path, _, attribute = name.rpartition('.')
    try:
        return getattr(module.get_submodule(path), attribute, None)
    except AttributeError:
        return None


def _keep_table(
    result: _Comparison,
    name: str,
    own: Tensor,  # (1, N, C)
    given: Tensor,  # (1, N, C); a class token may come first
    grid: Grid | None,
    allowed: bool,
) -> None:
    """Keep the module's fixed table, unless a learned one of the file would be lost."""
    extra = given.shape[1] - own.shape[1] if given.ndim == 3 else 0
    places = given[:, extra:] if extra == 1 else given
    if same_table(places, own):
        return
    if places.shape == own.shape and not allowed and not is_sincos_table(given, grid):
        result.learned.append(name)
        return
    result.other_table = True
    result.recomputed[name] = (
        f"kept the model's fixed table {tuple(own.shape)}; the file has another, "
        f'{tuple(given.shape)}. Check img_size, num_frames and pos_embed_type'
    )


def _resample(
    result: _Comparison, name: str, owner: nn.Module, target: Tensor, given: Tensor
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
    result.recomputed[name] = f'resampled from {old} to {new} tokens'
    return torch.cat([given[:, :extra], places], 1)


def _grid_of(backbone: nn.Module, table: Tensor) -> Grid | None:
    """Tokens (time, height, width) of a backbone, if it tells."""
    grid = getattr(backbone, 'token_grid', None)
    if grid is not None:
        return grid
    plane = getattr(backbone, 'grid_size', None)  # of MMAction2's ViT
    plane = plane or getattr(backbone, 'patch_resolution', None)  # of MMPretrain's
    return (table.shape[1] // (plane[0] * plane[1]), *plane) if plane else None


def _mismatch(
    label: str,
    module: nn.Module,
    state: Mapping[str, Tensor],
    prefix: str,
    result: _Comparison,
    remedy: str | None,
) -> CheckpointMismatchError:
    details = (result.lacking, result.mismatched, result.foreign)
    targets, encoder = module.state_dict(), ENCODER.removeprefix(prefix)
    images = is_image_vit(state), is_image_vit(targets)
    kind = type(module).__name__
    if None not in images and images[0] != images[1]:
        names = ['an image ViT' if one else 'a video ViT' for one in images]
        text = (
            f'{label} holds {names[0]} ({describe_encoder(state)}), and {kind} is {names[1]} '
            f'({describe_encoder(targets, encoder)}); nothing was loaded. Give a checkpoint of the '
            'other kind.'
        )
    else:
        text = f'{label} does not fit {kind}; nothing was loaded.\n' + explain_mismatch(
            state, targets, encoder, *details, result.learned, remedy
        )
    return CheckpointMismatchError(text, *details)
