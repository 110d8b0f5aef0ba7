"""Reading checkpoint files without running code in them, and writing files atomically."""

import hashlib
import io
import json
import os
import re
import struct
from argparse import Namespace
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import torch
from amd_mm.errors import CheckpointError
from mmengine.fileio import LocalBackend, get_file_backend, register_backend
from mmengine.logging import HistoryBuffer
from torch import Tensor

from .convert import from_amd_mm, to_amd_mm
from .formats import get_format, is_image_vit, is_rotary

PARTIAL_SUFFIX = '.partial'
ATOMIC_BACKEND = 'amd_mm_atomic'

# Files of a folder that Hugging Face transformers saved, in order of preference.
_FOLDER_FILES = (
    'model.safetensors',
    'model.safetensors.index.json',
    'pytorch_model.bin',
    'pytorch_model.bin.index.json',
)

# First bytes of other files that are often saved under a checkpoint's name.
_LOOKALIKES = (
    (rb'version https://git-lfs', 'a Git LFS pointer: run `git lfs pull` in its repository'),
    (rb'\s*<(!doctype|html|\?xml)', 'a web page: log in if that is needed, and download it again'),
    (rb'\s*[{\[]', 'a JSON text'),
    (rb'\x1f\x8b', 'a gzip archive: unpack it first'),
)


def read_checkpoint(path: str | os.PathLike, unsafe: bool = False) -> dict[str, Any]:
    """Read a checkpoint onto the CPU without running code in it (``weights_only=True``).

    Besides tensors and plain containers, a file may hold an ``argparse.Namespace``, as those of
    the public VideoMAE and AMD programs do (with PyTorch >= 2.5).

    Args:
        path: A ``.pth``, ``.pt``, ``.bin`` or ``.safetensors`` file; the ``.index.json`` of
            several; a folder saved by Hugging Face ``transformers`` or by DeepSpeed; an
            ``http(s)://`` address, downloaded once into torch's hub cache; or an address that a
            file backend of ``mmengine.fileio`` reads.
        unsafe: Unpickle any object. This can run code in the file.

    Returns:
        The content of the file; see :func:`unwrap` for the weights.

    Raises:
        CheckpointError: If the file is missing, damaged, not a checkpoint, or holds other objects.
    """
    path = os.fspath(path)
    if re.match(r'https?://', path):
        path = download(path)
    elif '://' in path:
        try:
            content = get_file_backend(path).get(path)
        except Exception as error:  # every backend has its own exceptions
            raise CheckpointError(f'Cannot read {path}: {type(error).__name__}: {error}') from error
        return _read_stream(io.BytesIO(content), path, unsafe)
    local = Path(path).expanduser()
    if local.is_dir():
        return _read_folder(local, unsafe)
    if not local.is_file():
        raise CheckpointError(f'There is no file {path} (working directory: {Path.cwd()}).')
    if local.name.endswith('.index.json'):
        return _read_index(local, unsafe)
    with local.open('rb') as stream:
        return _read_stream(stream, path, unsafe)


def download(address: str, sha256: str = '', folder: str = '') -> str:
    """Download to torch's hub cache, once; returns the path there.

    Args:
        address: Of a file.
        sha256: Its digest or the first digits of it, which are checked.
        folder: In the cache. By default the whole address decides about the file's name there,
            because many files are called pytorch_model.bin.

    Raises:
        CheckpointError: If it cannot be downloaded, or has another digest.
    """
    name = Path(address.partition('?')[0]).name
    if not folder:
        name = f'{hashlib.sha256(address.encode()).hexdigest()[:10]}-{name}'
    target = Path(torch.hub.get_dir()) / 'checkpoints' / folder / name
    if target.is_file():
        return str(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        # It renames a temporary file, so several processes may download at once.
        torch.hub.download_url_to_file(address, str(target), sha256 or None, progress=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: another digest
        raise CheckpointError(
            f'Cannot download {address}: {error}. Download it by other means to {target}, or give '
            'the path of the file.'
        ) from error
    return str(target)


def _read_folder(folder: Path, unsafe: bool) -> dict[str, Any]:
    name = next((one for one in _FOLDER_FILES if (folder / one).is_file()), None)
    if name is not None:
        return read_checkpoint(folder / name, unsafe)
    latest = folder / 'latest'  # of DeepSpeed: the name of a sub-folder
    if latest.is_file():
        folder = folder / Path(latest.read_text().strip()).name
    if any(folder.glob('*zero_pp_rank_*_model_states.pt')):
        raise CheckpointError(
            f'{folder} holds weights that DeepSpeed divided among processes (ZeRO 3): join them '
            f'with `python zero_to_fp32.py . whole.pth` in {latest.parent}, and give that file.'
        )
    if (folder / '.metadata').is_file() and any(folder.glob('*.distcp')):
        raise CheckpointError(
            f'{folder} was saved by torch.distributed.checkpoint: write one file with `python -m '
            f'torch.distributed.checkpoint.format_utils dcp_to_torch {folder} whole.pth`, and give '
            'that.'
        )
    states = sorted(folder.glob('mp_rank_*_model_states.pt'))
    if len(states) > 1:
        raise CheckpointError(
            f'{folder} holds a model that DeepSpeed divided among {len(states)} processes, which '
            'cannot be read: save the whole model.'
        )
    if states:
        return read_checkpoint(states[0], unsafe)
    raise CheckpointError(
        f'{folder} is a folder without weights; one of {", ".join(_FOLDER_FILES)}, or a folder '
        'that DeepSpeed saved, is needed. It holds: '
        f'{", ".join(sorted(os.listdir(folder))[:8]) if folder.is_dir() else "nothing"}.'
    )


def _read_index(index: Path, unsafe: bool) -> dict[str, Any]:
    """Read the files that an index of Hugging Face names."""
    try:
        files = set(json.loads(index.read_text())['weight_map'].values())
        # Path(...).name: a part is a file of this folder, whatever the index says
        parts = sorted(index.with_name(Path(one).name) for one in files)
    except (ValueError, LookupError, AttributeError, TypeError) as error:
        raise CheckpointError(f'{index} is not an index of weights: {error!r}.') from error
    if gone := [one.name for one in parts if not one.is_file()]:
        raise CheckpointError(
            f'{index} names {", ".join(gone)}, but there is no such file beside it: download it '
            'into the same folder.'
        )
    merged: dict[str, Any] = {}
    for part in parts:
        merged |= read_checkpoint(part, unsafe)
    return merged


def _read_stream(stream: BinaryIO, path: str, unsafe: bool) -> dict[str, Any]:
    head = stream.read(256)
    stream.seek(0)
    if not head:
        raise CheckpointError(f'{path} is empty.')
    # Eight bytes of length, then JSON: many caches lose the suffix.
    if path.endswith('.safetensors') or head[8:10] == b'{"':
        return _read_safetensors(stream, path)
    for pattern, description in _LOOKALIKES:
        if re.match(pattern, head, re.IGNORECASE):
            raise CheckpointError(f'{path} is not a checkpoint but {description}.')
    checkpoint = _read_torch(stream, path, unsafe)
    if not isinstance(checkpoint, dict):
        raise CheckpointError(
            f'{path} holds a {type(checkpoint).__name__}, not a dictionary of weights.'
        )
    return checkpoint


def _read_safetensors(stream: BinaryIO, path: str) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(stream.read())
    except (SafetensorError, struct.error) as error:
        raise CheckpointError(
            f'{path} is not a complete .safetensors file: {error}. It may be cut short; download '
            'it again.'
        ) from error


def _read_torch(stream: BinaryIO, path: str, unsafe: bool) -> Any:
    allow = getattr(torch.serialization, 'safe_globals', None)  # PyTorch >= 2.5
    try:
        with nullcontext() if allow is None else allow([Namespace]):
            return torch.load(stream, map_location='cpu', weights_only=not unsafe)
    except ImportError as error:
        raise CheckpointError(
            f'{path} holds objects of a program that is not installed here: {error}.'
        ) from error
    except Exception as error:  # a damaged stream of pickle instructions raises nearly anything
        refused = re.search(r'(?:GLOBAL|[Uu]nsupported class) ([A-Za-z_][\w.]*\w)', str(error))
        if refused and not unsafe:
            raise CheckpointError(_refusal(path, refused.group(1))) from error
        size = stream.seek(0, os.SEEK_END)
        stream.seek(0)
        head = stream.read(16)
        facts = f'It has {size} bytes and begins with {head!r}.'
        if not head.startswith((b'PK', b'\x80')):  # neither zip nor pickle
            raise CheckpointError(f'{path} is not a checkpoint. {facts}') from error
        reason = str(error).strip().partition('\n')[0].partition('. ')[0]
        raise CheckpointError(
            f'{path} is a damaged checkpoint; it may be cut short: download or copy it again. '
            f'{facts} ({type(error).__name__}: {reason})'
        ) from error


def _refusal(path: str, name: str) -> str:
    if name.startswith(('mmengine.', 'numpy.')) or name.endswith('getattr'):
        advice = (
            'MMEngine saves the history of the log as such objects. If you trust the file, rewrite '
            'it as tensors and plain containers, and load or resume that:\n'
            f'  python tools/convert_checkpoint.py {path} plain.pth --unsafe --keep-state'
        )
    else:
        advice = (
            'If you trust the file, convert it once:\n'
            f'  python tools/convert_checkpoint.py {path} converted.pth --unsafe'
        )
    return (
        f'{path} holds more than weights: {name}, which could run code when it is read. It was '
        f'not read. {advice}'
    )


def make_plain(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """A training checkpoint of MMEngine that ``torch.load(weights_only=True)`` reads.

    Numbers and arrays of NumPy become Python's. The log history of each value becomes a pair of
    tensors, which :func:`restore_log_history` reverses.
    """
    plain = {
        key: part if key.endswith('state_dict') else _plain(part)
        for key, part in checkpoint.items()
    }
    scalars = plain.get('message_hub', {}).get('log_scalars', {})
    for name, history in scalars.items():
        if isinstance(history, HistoryBuffer):
            scalars[name] = tuple(map(torch.from_numpy, history.data))
    return plain


def restore_log_history(checkpoint: dict[str, Any]) -> None:
    """Reverse :func:`make_plain` in place, so that MMEngine resumes the log."""
    scalars = checkpoint.get('message_hub', {}).get('log_scalars', {})
    for name, history in scalars.items():
        if isinstance(history, tuple):
            scalars[name] = HistoryBuffer(*(one.numpy() for one in history))


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(_plain, value))
    return value


def write_atomically(path: str | os.PathLike, content: bytes | memoryview) -> None:
    """Write a file so that its name stands for the old content or for all of the new one.

    The content is written to ``<path>.partial``, synchronised to the disk, and renamed.

    Raises:
        CheckpointError: If it cannot be written. The old file is untouched, and nothing is left of
            the new one.
    """
    path = os.path.abspath(path)
    folder, partial = os.path.dirname(path), path + PARTIAL_SUFFIX
    try:
        os.makedirs(folder, exist_ok=True)
        with open(partial, 'wb') as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        if os.name != 'nt':  # the renaming itself outlasts a power cut
            handle = os.open(folder, os.O_RDONLY)
            os.fsync(handle)
            os.close(handle)
    except OSError as error:
        raise CheckpointError(
            f'cannot save {path} ({len(content) / 1e6:.1f} MB): {error.strerror or error}. Files '
            f'saved before are untouched: free space in {folder} and repeat the command (training: '
            'with --resume)'
        ) from error
    finally:
        Path(partial).unlink(missing_ok=True)


@register_backend(ATOMIC_BACKEND, force=True)
class AtomicLocalBackend(LocalBackend):
    """MMEngine's local file backend with :func:`write_atomically`."""

    def put(self, obj: bytes | memoryview, filepath: str | Path) -> None:
        """Write a file atomically."""
        write_atomically(filepath, obj)


def save_weights(
    state: Mapping[str, Tensor],
    path: str | os.PathLike,
    fmt: str,
    meta: Mapping[str, Any] | None = None,
    force: bool = False,
) -> str:
    """Write weights as the programs of a format expect them; returns the file's sha256.

    Args:
        state: Weights in the names of ``fmt``.
        path: ``.safetensors`` for the weights with ``meta`` as metadata. Any other suffix is a
            torch file: the weights under the format's key (``state_dict`` for MMEngine, ``model``
            for public VideoMAE, none for Hugging Face), and ``meta`` beside them.
        fmt: A key of :data:`FORMATS`.
        meta: Where the weights come from: strings and numbers.
        force: Replace an existing file.

    Raises:
        CheckpointError: If the file exists and ``force`` is False, or it cannot be written.
    """
    target = Path(path)
    if target.exists() and not force:
        raise CheckpointError(f'{target} exists; give another name or --force.')
    content = _serialise(state, target.suffix, fmt, meta)
    write_atomically(target, content)
    return hashlib.sha256(content).hexdigest()


def _serialise(
    state: Mapping[str, Tensor], suffix: str, fmt: str, meta: Mapping[str, Any] | None
) -> bytes:
    # Copies: torch.save would write the whole of a tensor for each part that was cut from it.
    own = {name: value.detach().clone().contiguous() for name, value in state.items()}
    if suffix == '.safetensors':
        from safetensors.torch import save

        notes = {str(key): str(value) for key, value in (meta or {}).items()}
        # Hugging Face refuses files without `format`.
        return save(own, metadata={**notes, 'format': 'pt'})
    wrapper = get_format(fmt).wrapper
    stream = io.BytesIO()
    torch.save(own if wrapper is None else {wrapper: own, 'meta': dict(meta or {})}, stream)
    return stream.getvalue()


def file_sha256(path: str | os.PathLike) -> str:
    """The sha256 of a file, as hexadecimal digits."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


# Codebase -> format of a video ViT (False) and of an image ViT (True) in it.
_CODEBASES: dict[str, dict[bool, str]] = {
    'mmaction': {False: 'mmaction'},
    'mmpretrain': {True: 'mmpretrain'},
    'timm': {False: 'timm_video', True: 'mae'},
    'huggingface': {False: 'huggingface'},
}
CODEBASES = tuple(_CODEBASES)


class Published(NamedTuple):
    """A published encoder."""

    path: Path  # its name ends in the first digits of the digest
    digest: str  # sha256
    fmt: str  # a key of FORMATS
    names: tuple[str, ...]  # the weights in the file
    left: tuple[str, ...]  # our names of the weights that were left out


def publish_encoder(
    checkpoint: Mapping[str, Any],
    path: str | os.PathLike,
    codebase: str,
    meta: Mapping[str, Any] | None = None,
) -> Published:
    """Write only the encoder, in the names that a codebase reads.

    As OpenMMLab's ``publish_model`` does, ``vit.pth`` becomes ``vit-1a2b3c4d.pth``, with the first
    digits of the file's sha256.

    Args:
        checkpoint: A checkpoint of any known format.
        path: ``.pth`` or ``.safetensors``. A file of the final name is replaced: it is the same.
        codebase: One of :data:`CODEBASES`.
        meta: See :func:`save_weights`.

    Raises:
        CheckpointError: If the codebase has no such encoder, the checkpoint has no encoder, or the
            suffix is another.
    """
    target = Path(path)
    if target.suffix not in ('.pth', '.safetensors'):
        raise CheckpointError(f'{target} must end in .pth or .safetensors.')
    ours = to_amd_mm(checkpoint).state
    encoder = {name: tensor for name, tensor in ours.items() if name.startswith('backbone.')}
    images = is_image_vit(encoder)
    if images is None:
        raise CheckpointError(
            'This checkpoint has no encoder: no name begins with backbone.patch_embed.'
        )
    fitting = {name: formats[images] for name, formats in _CODEBASES.items() if images in formats}
    if is_rotary(encoder):
        fitting = {'huggingface': 'vjepa2_huggingface'}
    if codebase not in fitting:
        raise CheckpointError(
            f'The checkpoint holds {"an image" if images else "a video"} ViT, for which '
            f'{codebase!r} has no names. Use one of: {", ".join(fitting)}.'
        )
    fmt = fitting[codebase]
    state, dropped = from_amd_mm(encoder, fmt)
    content = _serialise(state, target.suffix, fmt, meta)
    digest = hashlib.sha256(content).hexdigest()
    target = target.with_name(f'{target.stem}-{digest[:8]}{target.suffix}')
    write_atomically(target, content)
    left = tuple(one for one in ours if one not in encoder or one in dropped)
    return Published(target, digest, fmt, tuple(state), left)
