"""Reading checkpoint files without running what is in them."""

import hashlib
import io
import json
import os
import pickle
import re
import struct
import zipfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any, BinaryIO

import torch
from amd_mm.utils.checked_pickle import checked_loading
from mmengine.fileio import get_file_backend
from torch import Tensor

from .errors import CheckpointReadError

# What a folder saved by Hugging Face transformers may hold, best first.
_FOLDER_FILES = (
    'model.safetensors',
    'model.safetensors.index.json',
    'pytorch_model.bin',
    'pytorch_model.bin.index.json',
)

# First bytes of things that are often saved under a checkpoint's name.
_LOOKALIKES = (
    (
        rb'version https://git-lfs',
        'a Git LFS pointer: the weights themselves were not downloaded. Run '
        '`git lfs pull` where it came from',
    ),
    (
        rb'\s*<(!doctype|html|\?xml)',
        'a web page: the download was answered with a page (a login, or '
        '"too many requests"). Download it again',
    ),
    (rb'\s*[{\[]', 'a JSON text'),
    (rb'\x1f\x8b', 'a gzip archive: unpack it first'),
)


def read_checkpoint(path: str | os.PathLike, unsafe: bool = False) -> dict[str, Any]:
    """Read a checkpoint file onto the CPU.

    Files are read with ``weights_only=True``: nothing in them is run. Two
    harmless kinds of object are let through for this one read: the
    ``argparse.Namespace`` that the public VideoMAE and AMD programs save
    beside the weights, and the log history in MMEngine's own checkpoints.

    Args:
        path (str | PathLike): A ``.pth``, ``.pt``, ``.bin`` or
            ``.safetensors`` file; a folder saved by Hugging Face
            ``transformers``; an address with ``http(s)://`` (downloaded once
            into torch's hub cache); or any address that a file backend of
            ``mmengine.fileio`` reads.
        unsafe (bool): Read with the full pickle machinery, which can run any
            code that is in the file.

    Returns:
        dict[str, Any]: What was saved; see :func:`unwrap` for the weights.

    Raises:
        CheckpointReadError: If there is no such file, it is no checkpoint, it
            is damaged, or it holds objects that are not safe to read.
    """
    path = os.fspath(path)
    if re.match(r'https?://', path):
        path = _download(path)
    elif '://' in path:
        content = io.BytesIO(_fetch(path))
        return _read_stream(content, path, unsafe)
    local = Path(path).expanduser()
    if local.is_dir():
        return _read_folder(local, unsafe)
    if not local.is_file():
        raise CheckpointReadError(f'There is no file {path} (looked from {Path.cwd()}).')
    with local.open('rb') as stream:
        return _read_stream(stream, path, unsafe)


def _fetch(address: str) -> bytes:
    try:
        return get_file_backend(address).get(address)
    except Exception as error:
        # Every backend has its own exceptions.
        raise CheckpointReadError(
            f'Cannot read {address}: {type(error).__name__}: {error}'
        ) from error


def _download(address: str) -> str:
    """Download to torch's hub cache, once; the path there."""
    # Many repositories call their file `pytorch_model.bin`: the address
    # itself, not only its last part, must decide about the cached name.
    mark = hashlib.sha256(address.encode()).hexdigest()[:10]
    name = f'{mark}-{Path(address.partition("?")[0]).name}'
    target = Path(torch.hub.get_dir()) / 'checkpoints' / name
    if target.is_file():
        return str(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        # Writes beside the target and renames, so several processes may do it.
        torch.hub.download_url_to_file(address, str(target), progress=True)
    except OSError as error:
        raise CheckpointReadError(
            f'Cannot download {address}: {error}. Download it by other means '
            'and give the path of the file.'
        ) from error
    return str(target)


def _read_folder(folder: Path, unsafe: bool) -> dict[str, Any]:
    """Read a folder saved by Hugging Face ``transformers``."""
    name = next((one for one in _FOLDER_FILES if (folder / one).is_file()), None)
    if name is None:
        raise CheckpointReadError(
            f'{folder} is a folder without weights; one of '
            f'{", ".join(_FOLDER_FILES)} is needed. It holds: '
            f'{", ".join(sorted(os.listdir(folder))[:8]) or "nothing"}.'
        )
    if not name.endswith('.index.json'):
        return read_checkpoint(folder / name, unsafe)
    try:
        index = json.loads((folder / name).read_text())
        files = set(index['weight_map'].values())
    except (ValueError, LookupError, AttributeError) as error:
        raise CheckpointReadError(f'{folder / name} is no index of weights: {error!r}.') from error
    merged: dict[str, Any] = {}
    for part in sorted(files):
        # A part is a file of this folder, whatever the index says.
        merged.update(read_checkpoint(folder / Path(part).name, unsafe))
    return merged


def _read_stream(stream: BinaryIO, path: str, unsafe: bool) -> dict[str, Any]:
    head = stream.read(256)
    stream.seek(0)
    if not head:
        raise CheckpointReadError(f'{path} is empty.')
    if _is_safetensors(head, path):
        return _read_safetensors(stream, path)
    for pattern, what in _LOOKALIKES:
        if re.match(pattern, head, re.IGNORECASE):
            raise CheckpointReadError(f'{path} is no checkpoint but {what}.')
    checkpoint = _read_torch(stream, path, unsafe)
    if isinstance(checkpoint, Tensor) or not hasattr(checkpoint, 'keys'):
        raise CheckpointReadError(
            f'{path} holds a {type(checkpoint).__name__}, not a dictionary of weights.'
        )
    return checkpoint


def _is_safetensors(head: bytes, path: str) -> bool:
    # Eight bytes of length, then a JSON table; the content decides, because
    # the suffix is lost in many caches.
    return path.endswith('.safetensors') or (len(head) > 8 and head[8:10] == b'{"')


def _read_safetensors(stream: BinaryIO, path: str) -> dict[str, Tensor]:
    # The whole file goes through memory: safetensors opens files by path
    # only, and not every path here is one of the local file system.
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(stream.read())
    except (SafetensorError, struct.error) as error:
        raise CheckpointReadError(
            f'{path} is not a whole .safetensors file: {error}. It may be '
            'cut short; download it again.'
        ) from error


def _read_torch(stream: BinaryIO, path: str, unsafe: bool) -> Any:
    try:
        with nullcontext() if unsafe else checked_loading():
            return torch.load(stream, map_location='cpu', weights_only=not unsafe)
    except ImportError as error:
        raise CheckpointReadError(
            f'{path} holds objects of a program that is not installed here: {error}.'
        ) from error
    except (
        pickle.UnpicklingError,
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        zipfile.BadZipFile,
    ) as error:
        # A damaged stream of pickle instructions can end in any of these.
        forbidden = None if unsafe else _forbidden_object(str(error))
        message = (
            _damaged_message(path, stream, error)
            if forbidden is None
            else _forbidden_message(path, forbidden)
        )
        raise CheckpointReadError(message) from error


def _forbidden_object(message: str) -> str | None:
    """The class or function that ``weights_only=True`` refused, if it did."""
    named = r'(?:GLOBAL|[Uu]nsupported class) ([A-Za-z_][\w.]*\w)(?=\s|$)'
    found = re.search(named, message)
    if found:
        return found.group(1)
    # Refused by amd_mm.utils.checked_pickle.
    found = re.search(r'checkpoint (?:asks for|holds) ([^.\n]+)', message)
    return found.group(1) if found else None


def _forbidden_message(path: str, forbidden: str) -> str:
    return (
        f'{path} holds more than weights: {forbidden}, which could run code '
        'when it is read. It was not read. If you trust where the file comes '
        'from, convert it once, knowingly:\n'
        f'  python tools/convert_checkpoint.py {path} converted.pth --unsafe'
    )


def _damaged_message(path: str, stream: BinaryIO, error: Exception) -> str:
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    head = stream.read(16)
    what = f'It has {size} bytes and begins with {head!r}.'
    if not head.startswith((b'PK', b'\x80')):  # neither zip nor pickle
        return f'{path} is no checkpoint. {what}'
    reason = str(error).strip().partition('\n')[0].partition('. ')[0]
    return (
        f'{path} is a damaged checkpoint; it may be cut short: download '
        f'or copy it again. {what} ({type(error).__name__}: {reason})'
    )
