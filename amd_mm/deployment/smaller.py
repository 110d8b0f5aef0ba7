"""Smaller ONNX programs, and how often they agree with the PyTorch model."""

import logging
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import torch
from amd_mm.datasets.inference import read_clips
from amd_mm.datasets.transforms import Stride
from amd_mm.errors import ConfigError
from torch import Tensor

from .exporting import read_onnx
from .portable import PortableModel

PRECISIONS = ('fp16', 'int8')


class Agreement(NamedTuple):
    """A program on some clips, compared with the PyTorch model.

    Attributes:
        name: of the program.
        megabytes: of the file; 0 for PyTorch.
        top1: the share of clips with the same most likely class.
        largest: the largest difference of a probability.
        milliseconds: for a clip, the median of single clips, on the CPU.
    """

    name: str
    megabytes: float
    top1: float
    largest: float
    milliseconds: float


def write_smaller(path: Path, precision: str) -> Path:
    """Write a float32 ONNX program in another precision, beside it.

    ``fp16`` stores and computes float16; ``int8`` stores the weights of linear layers as int8 and
    quantises their inputs while it runs (dynamic quantisation).

    Returns:
        The file: ``vit.onnx`` becomes ``vit.int8.onnx``.

    Raises:
        ConfigError: if onnxruntime is not installed.
    """
    if find_spec('onnxruntime') is None:
        raise ConfigError(f'{precision} needs a package: pip install onnxruntime')
    target = path.with_name(f'{path.stem}.{precision}{path.suffix}')
    import onnx

    program = onnx.load(path)
    del program.graph.value_info[:]  # shapes from before optimisation, which mislead the quantiser
    if precision == 'int8':
        from onnxruntime.quantization import QuantType, quantize_dynamic

        linear = ['MatMul', 'Gemm']
        logging.disable(logging.WARNING)  # it asks for another step of optimisation
        try:
            quantize_dynamic(
                program, target, op_types_to_quantize=linear, weight_type=QuantType.QInt8
            )
        finally:
            logging.disable(logging.NOTSET)
        return target
    from onnxruntime.transformers.float16 import convert_float_to_float16

    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of values that float16 rounds to zero
        smaller = convert_float_to_float16(program, keep_io_types=True)
    onnx.save(smaller, target)
    return target


def measure_agreement(
    model: PortableModel, programs: Mapping[str, Path], videos: Sequence[str], stride: Stride
) -> list[Agreement]:
    """Run programs and the PyTorch model on the middle clips of videos, one at a time.

    Args:
        model: gives logits.
        programs: name -> ONNX file.
        videos: videos or images.
        stride: frames from one frame of a clip to the next, or a rate.

    Raises:
        ConfigError: if the model gives features.
        VideoError: if a video cannot be read.
    """
    if model.output != 'logits':
        raise ConfigError('the model gives features: agreement is of the most likely classes')
    clips = [read_clips(model.core.backbone, [video], stride) for video in videos]
    clips = [clip if model.takes == 'uint8' else model.normalise(clip) for clip in clips]
    with torch.no_grad():
        expected, seconds = _run(model, clips)
    found = [Agreement('PyTorch', 0.0, 1.0, 0.0, 1000 * seconds)]
    for name, path in programs.items():
        scores, seconds = _run(read_onnx(str(path)), clips)
        found.append(
            Agreement(
                name,
                path.stat().st_size / 1e6,
                (scores.argmax(1) == expected.argmax(1)).float().mean().item(),
                (scores.softmax(1) - expected.softmax(1)).abs().max().item(),
                1000 * seconds,
            )
        )
    return found


def _run(program: Callable[[Tensor], Tensor], clips: Sequence[Tensor]) -> tuple[Tensor, float]:
    """Scores (N, classes), and the median seconds of a clip."""
    program(clips[0])  # warm up
    scores, seconds = [], []
    for clip in clips:
        start = time.perf_counter()
        scores.append(program(clip))
        seconds.append(time.perf_counter() - start)
    return torch.cat(scores), sorted(seconds)[len(seconds) // 2]


def agreement_table(rows: Sequence[Agreement]) -> str:
    """Agreements as a Markdown table."""
    lines = [
        '| program | MB | top-1 as PyTorch, % | largest difference | ms a clip |',
        '|---|---|---|---|---|',
    ]
    for name, size, top1, largest, milliseconds in rows:
        file = f'{size:.1f} | {100 * top1:.1f} | {largest:.1g}' if size else '| 100.0 |'
        lines.append(f'| {name} | {file} | {milliseconds:.1f} |')
    return '\n'.join(lines)
