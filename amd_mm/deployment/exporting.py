"""Writing a program, and comparing it with the model that it came from."""

import json
import os
import tempfile
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from amd_mm.checkpoints import file_sha256
from amd_mm.version import __version__

from .errors import ExportError
from .portable import PortableModel
from .program_formats import PROGRAM_FORMATS, ProgramFormat

# Neither is the batch size that the program is traced with.
CHECKED_BATCHES = (1, 3)
_PACKAGES = ('torch', 'mmengine', 'mmaction2', 'mmpretrain', 'onnx')


class Difference(NamedTuple):
    """How far a program is from its model.

    Attributes:
        largest (float): Largest absolute difference of an output.
        scale (float): Largest absolute output of the model.
        batches (tuple[int, ...]): The batch sizes that were compared.
    """

    largest: float
    scale: float
    batches: tuple[int, ...]

    def within(self, tolerance: float) -> bool:
        """Whether it is small against the outputs; False for NaN."""
        return self.largest <= tolerance * self.scale


class Exported(NamedTuple):
    """What has been written.

    Attributes:
        path (Path): The program.
        sidecar (Path): The JSON file that describes it.
        digest (str): The program's sha256, as hexadecimal digits.
        difference (Difference | None): None if nothing here could run it.
    """

    path: Path
    sidecar: Path
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
    """Write a model as a program, with a description beside it.

    The program is written in a hidden folder beside ``path``, loaded from
    there, compared with the model, and only then given its name: what has the
    name has passed. The description is called as the program and ``.json``.

    Args:
        model (PortableModel): What to export.
        path (str | PathLike): The file; its suffix is that of the format, and
            its folder exists.
        fmt (str): A key of :data:`PROGRAM_FORMATS`.
        tolerance (float): Largest difference from the model's outputs, as a
            share of the largest of them.
        facts (Mapping, optional): Further entries of the description.
        force (bool): Replace existing files.

    Returns:
        Exported: The files and the difference.

    Raises:
        ExportError: If it cannot be written here, or differs too much.
    """
    target = Path(path)
    program = check_request(target, fmt, force)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f'.{target.name}.') as folder:
        part = Path(folder) / target.name
        program.write(model, os.fspath(part))
        difference = None
        if program.can_check:
            difference = measure(model, program, os.fspath(part))
            _judge(difference, tolerance, target)
        digest = file_sha256(part)
        notes = Path(folder) / 'notes.json'
        described = describe(model, fmt, target.name, digest)
        described['check'] = _check_notes(program, difference, tolerance)
        notes.write_text(
            json.dumps({**described, **(facts or {})}, indent=2, default=str) + '\n',
            encoding='utf-8',
        )
        sidecar = target.with_name(f'{target.name}.json')
        # The program last: where it is, its description is.
        os.replace(notes, sidecar)
        os.replace(part, target)
    return Exported(target, sidecar, digest, difference)


def check_request(path: str | os.PathLike, fmt: str, force: bool) -> ProgramFormat:
    """See that a program can be written, before models are built.

    Args:
        path (str | PathLike): The file.
        fmt (str): A key of :data:`PROGRAM_FORMATS`.
        force (bool): Whether an existing file may be replaced.

    Returns:
        ProgramFormat: Of that name.

    Raises:
        ExportError: If it cannot.
    """
    target = Path(path)
    if fmt not in PROGRAM_FORMATS:
        raise ExportError(f'{fmt!r} is none of {", ".join(PROGRAM_FORMATS)}')
    program = PROGRAM_FORMATS[fmt]
    if target.suffix != program.suffix:
        raise ExportError(f'{target}: the name of {fmt} files ends in {program.suffix}')
    if target.exists() and not force:
        raise ExportError(f'{target} exists; give another name or --force')
    program.require(fmt)
    return program


def measure(model: PortableModel, program: ProgramFormat, path: str) -> Difference:
    """Run a written program and its model on the same noise.

    Args:
        model (PortableModel): What it was made of.
        program (ProgramFormat): Its format.
        path (str): The file.

    Returns:
        Difference: Over all :data:`CHECKED_BATCHES`.

    Raises:
        ExportError: If an output has another shape.
    """
    run = program.read(path)
    largest, scale = [], []
    for batch in CHECKED_BATCHES:
        pixels = model.example(batch, seed=batch)
        with torch.no_grad():
            wanted, given = model(pixels), run(pixels)
        if wanted.shape != given.shape:
            raise ExportError(
                f'the program gives {tuple(given.shape)} for a batch of '
                f'{batch}, the model {tuple(wanted.shape)}'
            )
        largest.append((wanted - given).abs().max())
        scale.append(wanted.abs().max())
    # torch's maximum, unlike Python's, is NaN where a number is.
    return Difference(
        torch.stack(largest).max().item(), torch.stack(scale).max().item(), CHECKED_BATCHES
    )


def _judge(found: Difference, tolerance: float, target: Path) -> None:
    if found.within(tolerance):
        return
    raise ExportError(
        f'{target} was not written: the program differs from the model by up '
        f'to {found.largest:.3g}, and {tolerance:g} of the largest output '
        f'({found.scale:.3g}) is allowed (--tolerance)'
    )


def describe(model: PortableModel, fmt: str, name: str, digest: str) -> dict[str, Any]:
    """What a user of the program has to know.

    Args:
        model (PortableModel): What it was made of.
        fmt (str): A key of :data:`PROGRAM_FORMATS`.
        name (str): Of the file.
        digest (str): The file's sha256.

    Returns:
        dict[str, Any]: For JSON.
    """
    axes = ['batch', 'channel', 'frame', 'row', 'column']
    if len(model.size) == 3:
        axes.remove('frame')
    inside = model.takes == 'uint8'
    scores = model.output == 'logits'
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
            meaning='softmax over the last axis gives probabilities; of '
            'several views of a video, average those'
            if scores
            else 'one feature for each input',
        ),
        versions=_versions(),
    )


def _check_notes(
    program: ProgramFormat, found: Difference | None, tolerance: float
) -> dict[str, Any]:
    if found is None:
        return dict(done=False, because=f'{program.checked_by} is not installed')
    return dict(
        done=True,
        by=f'{program.checked_by} {version(program.checked_by)}',
        batch_sizes=found.batches,
        largest_difference=found.largest,
        largest_output=found.scale,
        tolerance=tolerance,
    )


def _versions() -> dict[str, str]:
    found = dict(amd_mm=__version__)
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
