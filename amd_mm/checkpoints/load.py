"""The strict loader: every weight is loaded, or its name is reported."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from amd_mm.errors import CheckpointError
from mmengine.logging import MMLogger, print_log
from mmengine.model import is_model_wrapper
from torch import nn

from .compare import ENCODER, compare, explain_mismatch
from .convert import Converted, to_amd_mm
from .formats import detect_format, unwrap
from .io import read_checkpoint
from .messages import collapse, group_by_reason

OWN_NAMES = "the model's own names"  # the format in messages if no name was converted

Source = str | os.PathLike | Mapping[str, Any]


class CheckpointMismatchError(CheckpointError):
    """The weights do not fit the module. The message names the first of them, attributes all.

    Attributes:
        missing: Weights of the module that are not in the file.
        mismatched: Name -> (shape in the file, shape in the module).
        unexpected: Encoder weights of the file that the module lacks.
    """

    def __init__(
        self,
        message: str,
        missing: Sequence[str],
        mismatched: Mapping[str, tuple],
        unexpected: Sequence[str],
    ) -> None:
        super().__init__(message)
        self.missing = tuple(missing)
        self.mismatched = dict(mismatched)
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
    result = compare(module, state, prefix, allow_missing)
    if not result.fits:
        raise CheckpointMismatchError(
            f'{name} ({fmt}) '
            + explain_mismatch(type(module).__name__, module.state_dict(), state, result, remedy),
            result.lacking,
            result.mismatched,
            result.foreign,
        )
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
        dropped=dropped,
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
