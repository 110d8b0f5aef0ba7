"""Writing a model as an ONNX or ``torch.export`` file, and comparing the file with the model."""

import json
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from amd_mm.apis import has_sigmoid
from amd_mm.checkpoints import file_sha256
from amd_mm.errors import ConfigError
from amd_mm.version import __version__
from torch import Tensor

from .portable import PortableModel

PROGRAM_FORMATS = {'onnx': '.onnx', 'pt2': '.pt2'}  # and the ending of the file
COMPARED_BATCHES = (1, 3)
_TRACED_BATCH = 2  # torch.export takes 0 and 1 for constants
_OPSET = 18  # the lowest that has all operators, for old runtimes
_ONNX_LIMIT = 2**31  # bytes of a file


class Difference(NamedTuple):
    """Largest absolute difference between file and model, and the model's largest output."""

    largest: float
    scale: float


class Exported(NamedTuple):
    """The written file, its description (JSON), its sha256 and the difference from the model.

    The difference is None if the file could not be run here.
    """

    path: Path
    description: Path
    digest: str
    difference: Difference | None


def export_program(
    model: PortableModel,
    path: str | os.PathLike,
    fmt: str,
    tolerance: float = 1e-4,
    facts: Mapping[str, Any] | None = None,
    force: bool = False,
) -> Exported:
    """Write a model as a program, with a description (``PATH.json``) beside it.

    The program gets its name only after it was loaded and compared with the model.

    Args:
        model: the model.
        path: the file, in an existing folder, with the ending of the format.
        fmt: a key of :data:`PROGRAM_FORMATS`.
        tolerance: largest difference from the model, as a share of the model's largest output.
        facts: further entries of the description.
        force: replace existing files.

    Raises:
        ConfigError: if it cannot be written here, or differs too much.
    """
    target = Path(path)
    check_request(target, fmt, force)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f'.{target.name}.') as folder:
        part = Path(folder) / target.name
        with torch.no_grad(), _quiet():
            _WRITERS[fmt](model, str(part))
        difference = None
        if fmt == 'pt2' or find_spec('onnxruntime') is not None:
            difference = compare(model, _READERS[fmt](str(part)))
            # not `>`: NaN has to fail
            if not difference.largest <= tolerance * difference.scale:
                raise ConfigError(
                    f'{target} was not written: the program differs from the model by up to '
                    f'{difference.largest:.3g}; {tolerance:g} of the largest output '
                    f'({difference.scale:.3g}) is allowed (--tolerance)'
                )
        digest = file_sha256(part)
        notes = _describe(model, fmt, target.name, digest)
        notes['check'] = dict(done=False, because='onnxruntime is not installed')
        if difference is not None:
            notes['check'] = dict(
                done=True,
                batch_sizes=COMPARED_BATCHES,
                largest_difference=difference.largest,
                largest_output=difference.scale,
                tolerance=tolerance,
            )
        written = Path(folder) / 'notes.json'
        written.write_text(json.dumps({**notes, **(facts or {})}, indent=2, default=str) + '\n')
        description = target.with_name(f'{target.name}.json')
        os.replace(written, description)
        os.replace(part, target)
    return Exported(target, description, digest, difference)


def check_request(path: str | os.PathLike, fmt: str, force: bool) -> None:
    """Raise a ConfigError if a program cannot be written; see :func:`export_program`."""
    target = Path(path)
    if target.suffix != PROGRAM_FORMATS[fmt]:
        raise ConfigError(f'{target}: the name of {fmt} files ends in {PROGRAM_FORMATS[fmt]}')
    if target.exists() and not force:
        raise ConfigError(f'{target} exists; give another name or --force')
    if fmt == 'onnx' and not (find_spec('onnx') and find_spec('onnxscript')):
        raise ConfigError(
            'onnx needs packages that are not installed: pip install onnx onnxscript onnxruntime'
        )
    if tuple(map(int, torch.__version__.split('.')[:2])) < (2, 6):
        raise ConfigError(f'{fmt} needs torch 2.6 or newer, and this is {torch.__version__}')


def compare(model: PortableModel, program: Callable[[Tensor], Tensor]) -> Difference:
    """Compare a written program with its model on noise, for each of two batch sizes.

    Raises:
        ConfigError: if an output has another shape.
    """
    largest, scale = [], []
    for batch in COMPARED_BATCHES:
        pixels = model.example(batch, seed=batch)
        with torch.no_grad():
            expected, found = model(pixels), program(pixels)
        if expected.shape != found.shape:
            raise ConfigError(
                f'the program gives {tuple(found.shape)} for a batch of {batch}, the model '
                f'{tuple(expected.shape)}'
            )
        largest.append((expected - found).abs().max())
        scale.append(expected.abs().max())
    # torch's maximum, unlike Python's, is NaN if a number is
    return Difference(torch.stack(largest).max().item(), torch.stack(scale).max().item())


def _describe(model: PortableModel, fmt: str, name: str, digest: str) -> dict[str, Any]:
    """The description for users of the program, for JSON."""
    axes = ['batch', 'channel', 'frame', 'row', 'column']
    if model.input == 'image':
        axes.remove('frame')
    inside = model.takes == 'uint8'
    function = 'sigmoid' if has_sigmoid(model.core) else 'softmax over the last axis'
    versions = dict(amd_mm=__version__)
    for package in ('torch', 'mmengine', 'mmaction2', 'mmpretrain', 'onnx', 'onnxruntime'):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return dict(
        program=name,
        format=fmt,
        sha256=digest,
        input=dict(
            name=model.input,
            shape=['batch', *model.size],
            axes=axes,
            dtype=str(model.dtype).removeprefix('torch.'),
            channels='RGB' if model.size[0] == 3 else model.size[0],
            values='0 to 255' if inside else '(pixels - mean) / std',
        ),
        normalisation=dict(
            mean=model.mean, std=model.std, done_by='the program' if inside else 'the caller'
        ),
        output=dict(
            name=model.output,
            shape=['batch', model.num_outputs()],
            dtype='float32',
            meaning=f'{function} gives probabilities; average them over the views of a video'
            if model.output == 'logits'
            else 'one feature for each input',
        ),
        versions=versions,
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporters: the outputs are compared anyway."""
    loggers = [logging.getLogger(one) for one in ('torch.onnx', 'onnxscript')]
    levels = [one.level for one in loggers]
    try:
        for one in loggers:
            one.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        for one, level in zip(loggers, levels):
            one.setLevel(level)


def _graph(model: PortableModel) -> Any:
    """The model as an ``ExportedProgram`` of any batch size."""
    program = torch.export.export(
        model,
        (model.example(_TRACED_BATCH),),
        dynamic_shapes={'pixels': {0: torch.export.Dim('batch', min=1)}},
        strict=False,
    )
    for part in program.graph_module.modules():
        for node in getattr(getattr(part, 'graph', None), 'nodes', ()):
            node.meta.pop('stack_trace', None)  # has paths of this machine
    return program


def _write_pt2(model: PortableModel, path: str) -> None:
    torch.export.save(_graph(model), path)


def _write_onnx(model: PortableModel, path: str) -> None:
    size = sum(one.nbytes for one in model.state_dict().values())
    if size >= _ONNX_LIMIT:
        raise ConfigError(
            f'an ONNX file holds at most 2 GB, and this model has {size / 1e9:.1f} GB of weights: '
            'use --format pt2'
        )
    torch.onnx.export(
        _graph(model),
        (),
        path,
        input_names=[model.input],
        output_names=[model.output],
        dynamic_shapes={'pixels': {0: torch.export.Dim('batch', min=1)}},  # names the axis
        opset_version=_OPSET,
        dynamo=True,
        external_data=False,
        verbose=False,
    )


def _read_pt2(path: str) -> Callable[[Tensor], Tensor]:
    return torch.export.load(path).module()


def read_onnx(path: str) -> Callable[[Tensor], Tensor]:
    """A function that runs an ONNX file on the CPU, with as many threads as PyTorch."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=['CPUExecutionProvider'])
    name = session.get_inputs()[0].name
    return lambda pixels: torch.from_numpy(session.run(None, {name: pixels.numpy()})[0])


_WRITERS: dict[str, Callable[[PortableModel, str], None]] = {'onnx': _write_onnx, 'pt2': _write_pt2}
_READERS: dict[str, Callable[[str], Callable[[Tensor], Tensor]]] = {
    'onnx': read_onnx,
    'pt2': _read_pt2,
}
