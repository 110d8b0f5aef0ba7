"""A bare encoder for other programs, under a name that tells its weights."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from .converting import from_amd_mm, to_amd_mm
from .describing import ENCODER
from .errors import CheckpointFormatError
from .formats import looks_at_images
from .writing import save_weights

# Codebase -> the format that it reads, of a video ViT and of an image ViT.
_FORMATS: dict[str, dict[bool, str]] = {
    'mmaction': {False: 'mmaction'},
    'mmpretrain': {True: 'mmpretrain'},
    'timm': {False: 'timm_video', True: 'mae'},
    'huggingface': {False: 'huggingface'},
}
CODEBASES = tuple(_FORMATS)
_SUFFIXES = ('.pth', '.safetensors')
_DIGITS = 8  # of the checksum, as in OpenMMLab's names


class Published(NamedTuple):
    """What has been written.

    Attributes:
        path (Path): The file; its name ends in the first digits of ``digest``.
        digest (str): Its sha256, as hexadecimal digits.
        fmt (str): The format of the names, a key of :data:`FORMATS`.
        names (tuple[str, ...]): The tensors in it.
        left (tuple[str, ...]): Our names of what stayed behind.
    """

    path: Path
    digest: str
    fmt: str
    names: tuple[str, ...]
    left: tuple[str, ...]


def publish_encoder(
    checkpoint: Mapping[str, Any],
    path: str | os.PathLike,
    codebase: str,
    meta: Mapping[str, Any] | None = None,
) -> Published:
    """Write the encoder alone, in the names that a codebase reads.

    Head, neck, decoder, optimiser, log history and a second, averaged or
    plain, copy of the weights stay behind. As OpenMMLab's ``publish_model``
    does, ``vit.pth`` becomes ``vit-1a2b3c4d.pth``, with the first digits of
    the file's sha256.

    Args:
        checkpoint (Mapping[str, Any]): What :func:`read_checkpoint` gives, of
            any known format.
        path (str | PathLike): ``.pth`` or ``.safetensors``, in a folder that
            exists.
        codebase (str): One of :data:`CODEBASES`.
        meta (Mapping[str, Any], optional): As of :func:`save_weights`.

    Returns:
        Published: The file. One of that name is replaced: it is the same.

    Raises:
        CheckpointFormatError: If the codebase has no such encoder, there is
            none in the checkpoint, or the suffix is another.
    """
    target = Path(path)
    if target.suffix not in _SUFFIXES:
        raise CheckpointFormatError(f'{target} must end in {" or ".join(_SUFFIXES)}.')
    ours = to_amd_mm(checkpoint).state
    encoder = {name: tensor for name, tensor in ours.items() if name.startswith(ENCODER)}
    images = looks_at_images(encoder)
    if images is None:
        raise CheckpointFormatError(
            f'There is no encoder in this checkpoint: nothing in it is called {ENCODER}patch_embed.'
        )
    fmt = _format_of(codebase, images)
    state, dropped = from_amd_mm(encoder, fmt)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f'.{target.stem}.') as folder:
        part = Path(folder) / target.name
        digest = save_weights(state, part, fmt, meta)
        name = f'{target.stem}-{digest[:_DIGITS]}{target.suffix}'
        os.replace(part, target.with_name(name))
    left = [one for one in ours if one not in encoder or one in dropped]
    return Published(target.with_name(name), digest, fmt, tuple(state), tuple(left))


def _format_of(codebase: str, images: bool) -> str:
    fitting = _FORMATS.get(codebase)
    if fitting is None:
        raise CheckpointFormatError(f'{codebase!r} is none of {", ".join(CODEBASES)}.')
    if images not in fitting:
        kinds = ('an image ViT', 'video') if images else ('a video ViT', 'images')
        others = [one for one, formats in _FORMATS.items() if images in formats]
        raise CheckpointFormatError(
            f"The checkpoint holds {kinds[0]}, and {codebase}'s names are for "
            f'{kinds[1]}; for this one: {", ".join(others)}.'
        )
    return fitting[images]
