"""Writing weights to a file, whole or not at all."""

import hashlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .formats import get_format


def save_weights(
    state: Mapping[str, Tensor],
    path: str | os.PathLike,
    fmt: str,
    meta: Mapping[str, Any] | None = None,
    force: bool = False,
) -> str:
    """Write weights as the programs of a format expect them.

    A ``.safetensors`` file holds the weights alone, with ``meta`` as its
    metadata. Any other suffix is a torch file: the weights under the key
    where the format's programs look for them (``state_dict`` for MMEngine,
    ``model`` for the public VideoMAE, none for Hugging Face), and ``meta``
    beside it. It is written under another name and then renamed, so that an
    interrupted write leaves nothing behind that looks like a checkpoint.

    Args:
        state (Mapping[str, Tensor]): Weights in the names of ``fmt``.
        path (str | PathLike): The file.
        fmt (str): A key of :data:`FORMATS`.
        meta (Mapping[str, Any], optional): Where it comes from: strings,
            numbers.
        force (bool): Replace an existing file.

    Returns:
        str: The file's sha256, as hexadecimal digits.

    Raises:
        FileExistsError: If there is such a file and ``force`` is False.
    """
    target = Path(path)
    if target.exists() and not force:
        raise FileExistsError(f'{target} exists; give another name or --force.')
    target.parent.mkdir(parents=True, exist_ok=True)
    # Every tensor by itself: parts that were cut from one tensor would drag
    # the whole of it along.
    own = {name: value.detach().clone() for name, value in state.items()}
    handle, partial = tempfile.mkstemp(dir=target.parent, prefix=f'.{target.name}.', suffix='.part')
    os.close(handle)
    try:
        if target.suffix == '.safetensors':
            _write_safetensors(own, partial, meta)
        else:
            _write_torch(own, partial, get_format(fmt).wrapper, meta)
        os.chmod(partial, 0o666 & ~_umask())
        digest = file_sha256(partial)
        os.replace(partial, target)
    except BaseException:
        os.unlink(partial)
        raise
    return digest


def _write_safetensors(state: dict[str, Tensor], path: str, meta: Mapping[str, Any] | None) -> None:
    from safetensors.torch import save_file

    notes = {str(key): str(value) for key, value in (meta or {}).items()}
    state = {name: value.contiguous() for name, value in state.items()}
    # Hugging Face refuses files that do not say which framework wrote them.
    save_file(state, path, metadata={**notes, 'format': 'pt'})


def _write_torch(
    state: dict[str, Tensor], path: str, wrapper: str | None, meta: Mapping[str, Any] | None
) -> None:
    content: dict[str, Any] = state
    if wrapper is not None:
        content = {wrapper: state, 'meta': dict(meta or {})}
    # Through a stream: given a path, torch writes its name into the file, and
    # the same weights would have another checksum under another name.
    with open(path, 'wb') as stream:
        torch.save(content, stream)
        stream.flush()
        os.fsync(stream.fileno())


def file_sha256(path: str | os.PathLike) -> str:
    """The sha256 of a file, as hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, 'rb') as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _umask() -> int:
    """The process' umask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
