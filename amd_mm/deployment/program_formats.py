"""The formats of programs: how each is written, and read to be checked.

ONNX and ``torch.export`` come from one graph, TorchScript from a trace. In all
of them the size of the batch is open, and everything else is fixed.
"""

import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from .errors import ExportError
from .portable import PortableModel

Runs = Callable[[Tensor], Tensor]
# For the trace: another number than those that the program is checked with,
# and neither 0 nor 1, which torch takes for fixed.
_TRACED_BATCH = 2
_OPSET = 18  # the lowest that has all operators, for old runtimes
_ONNX_LIMIT = 2**31  # bytes of a file


@dataclass(frozen=True)
class ProgramFormat:
    """One format.

    Attributes:
        suffix (str): Of its files.
        needs (tuple[str, ...]): Packages without which it is not written.
        least_torch (tuple[int, int]): Version from which torch can.
        write (Callable): (model, path) -> None.
        read (Callable): path -> function from input to output.
        checked_by (str): The package that runs the file in the check.
    """

    suffix: str
    needs: tuple[str, ...]
    least_torch: tuple[int, int]
    write: Callable[[PortableModel, str], None]
    read: Callable[[str], Runs]
    checked_by: str = 'torch'

    @property
    def can_check(self) -> bool:
        """Whether the package that runs it is installed."""
        return find_spec(self.checked_by) is not None

    def require(self, name: str) -> None:
        """Raise an ExportError if it cannot be written here.

        Args:
            name (str): What the user calls the format.
        """
        missing = [one for one in self.needs if find_spec(one) is None]
        if missing:
            raise ExportError(
                f'{name} needs {" and ".join(missing)}, which are not '
                f'installed: pip install {" ".join(self.needs)} onnxruntime'
            )
        have = torch.__version__
        if tuple(map(int, have.split('.')[:2])) < self.least_torch:
            raise ExportError(
                f'{name} needs torch {".".join(map(str, self.least_torch))} '
                f'or newer, and this is {have}; --format torchscript works'
            )


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the exporters' own talk: the numbers are compared anyway."""
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


def _open_batch() -> dict[str, Any]:
    return {'pixels': {0: torch.export.Dim('batch', min=1)}}


def _graph(model: PortableModel) -> Any:
    """The model as an ``ExportedProgram`` with an open batch size."""
    program = torch.export.export(
        model, (model.example(_TRACED_BATCH),), dynamic_shapes=_open_batch(), strict=False
    )
    for part in program.graph_module.modules():
        for node in getattr(getattr(part, 'graph', None), 'nodes', ()):
            # Paths of this machine, in every node.
            node.meta.pop('stack_trace', None)
    return program


def _write_pt2(model: PortableModel, path: str) -> None:
    with torch.no_grad(), _quietly():
        torch.export.save(_graph(model), path)


def _read_pt2(path: str) -> Runs:
    return torch.export.load(path).module()


def _write_onnx(model: PortableModel, path: str) -> None:
    size = sum(one.nbytes for one in model.state_dict().values())
    if size >= _ONNX_LIMIT:
        raise ExportError(
            f'an ONNX file holds at most 2 GB, and this model has '
            f'{size / 1e9:.1f} GB of weights: --format pt2 or torchscript'
        )
    with torch.no_grad(), _quietly():
        torch.onnx.export(
            _graph(model),
            (),
            path,
            input_names=[model.input],
            output_names=[model.output],
            dynamic_shapes=_open_batch(),  # for the name of the axis
            opset_version=_OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def _read_onnx(path: str) -> Runs:
    import onnxruntime

    # As many threads as torch has been told to take.
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=['CPUExecutionProvider'])
    name = session.get_inputs()[0].name

    def run(pixels: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {name: pixels.numpy()})[0])

    return run


def _write_torchscript(model: PortableModel, path: str) -> None:
    with torch.no_grad(), _quietly():
        # Traced, not scripted: MMEngine's modules are beyond the compiler.
        traced = torch.jit.trace(model, model.example(_TRACED_BATCH), check_trace=False)
        traced.save(os.fspath(path))


def _read_torchscript(path: str) -> Runs:
    with _quietly():
        return torch.jit.load(path, map_location='cpu')


PROGRAM_FORMATS: dict[str, ProgramFormat] = {
    'onnx': ProgramFormat(
        suffix='.onnx',
        needs=('onnx', 'onnxscript'),
        least_torch=(2, 6),
        write=_write_onnx,
        read=_read_onnx,
        checked_by='onnxruntime',
    ),
    'torchscript': ProgramFormat(
        suffix='.pt', needs=(), least_torch=(2, 1), write=_write_torchscript, read=_read_torchscript
    ),
    'pt2': ProgramFormat(
        suffix='.pt2', needs=(), least_torch=(2, 6), write=_write_pt2, read=_read_pt2
    ),
}
