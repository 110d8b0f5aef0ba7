"""The strict loader: nothing is left out without being named."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from mmengine.logging import MMLogger, print_log
from mmengine.model import is_model_wrapper
from torch import Tensor, nn

from .converting import Converted, to_amd_mm
from .describing import ENCODER
from .errors import CheckpointFormatError
from .formats import detect_format
from .mismatches import describe_mismatch
from .names import collapse, group_by_reason
from .planning import make_plan
from .reading import read_checkpoint
from .tables import Grid
from .unwrapping import unwrap

# A "format" for messages: no conversion was needed.
OWN_NAMES = "the model's own names"


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
            ('unexpected', len(self.unexpected), collapse(self.unexpected, True)),
        ]
        rows += [('dropped', count, text) for count, text in group_by_reason(self.dropped)]
        rows += [('table', 1, f'{name}: {what}') for name, what in self.recomputed.items()]
        lines = [f'{kind:>10} {count:>4}  {text}' for kind, count, text in rows if count]
        head = f'{self.source} ({self.fmt}) -> {self.module}'
        return '\n'.join([head, *lines])


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
    chosen = {key[len(prefix) :]: tensor for key, tensor in state.items() if key.startswith(prefix)}
    if not chosen:
        raise CheckpointFormatError(
            f'Nothing in {name} is called {prefix}*; it has {collapse(state, brief=True)}.'
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
      takes the file's, which is not the same in all programs. A table of the
      file that is as large and neither the same nor another sin-cos table
      was learned, and does not fit;
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
        ValueError: If ``extra_blocks`` is neither.
    """
    if extra_blocks not in ('error', 'ignore'):
        raise ValueError(f"extra_blocks must be 'error' or 'ignore', not {extra_blocks!r}.")
    if isinstance(source, Mapping):
        name, checkpoint = name or 'state dict', source
    else:
        name = name or os.fspath(source)
        checkpoint = read_checkpoint(source, unsafe)
    if is_model_wrapper(module):
        module = module.get_submodule('module')
    if prefix is None:
        prefix = '' if hasattr(module, 'backbone') else ENCODER
    if fmt is None and prefix == '' and _has_own_names(module, checkpoint):
        fmt = OWN_NAMES
        state, dropped = Converted(unwrap(checkpoint), {})
    else:
        fmt = fmt or detect_format(checkpoint)
        state, dropped = to_amd_mm(checkpoint, fmt)
    plan = make_plan(module, state, prefix, allow_missing, extra_blocks, source_grid)
    label = f'{name} ({fmt})'
    if not plan.fits:
        raise describe_mismatch(label, module, state, prefix, plan)
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


@torch.no_grad()
def _copy(module: nn.Module, copies: Mapping[str, Tensor]) -> None:
    targets = module.state_dict(keep_vars=True)
    for name, tensor in copies.items():
        targets[name].copy_(tensor)
