"""Parameters, FLOPs and latency of the models, in one table.

FLOPs are counted on the meta device by :class:`amd_mm.models.meta.Meter`. MMEngine's counter
(``mmengine.analysis``) does not know fused attention and misses a quarter to two fifths: 34 of 57
GFLOPs of a ViT-S on a clip.
"""

import statistics
import time
from dataclasses import dataclass
from typing import Any

import torch
from amd_mm.apis import choose_device
from amd_mm.distillation import STUDENTS
from amd_mm.models.backbones import ImageVisionTransformer, VideoVisionTransformer
from amd_mm.models.meta import Meter

_RUNS = 5


@dataclass(frozen=True)
class ModelSize:
    """One row.

    Attributes:
        name: Such as ``vit-small``.
        inputs: (frames, height, width) of a clip, (height, width) of an image.
        parameters: Of the encoder.
        gflops: Multiply-adds of a forward pass of one input, in 1e9, as papers count them.
        milliseconds: Median time of a forward pass of one input in float32; None if not measured.
    """

    name: str
    inputs: tuple[int, ...]
    parameters: int
    gflops: float
    milliseconds: float | None = None


def model_sizes(
    frames: int = 16, size: int = 224, latency: bool = False, device: str | None = None
) -> list[ModelSize]:
    """The sizes of all encoders, for videos and for images.

    Args:
        frames: Frames of a clip.
        size: Height and width in pixels.
        latency: Measure it, which takes seconds to minutes on a CPU.
        device: Where to measure; the GPU by default.

    Raises:
        ConfigError: If torch cannot use the device.
    """
    rows = []
    for inputs in ((frames, size, size), (size, size)):
        for name in STUDENTS:
            with torch.device('meta'):
                model, clip = _encoder(name, inputs), torch.empty(1, 3, *inputs)
            with Meter(model) as meter, torch.no_grad():
                model(clip)
            parameters = sum(one.numel() for one in model.parameters())
            seconds = _latency(name, inputs, choose_device(device)) if latency else None
            gflops = meter.flops.total() / 2e9
            rows.append(ModelSize(name, inputs, parameters, gflops, seconds and 1e3 * seconds))
    return rows


def _encoder(name: str, inputs: tuple[int, ...]) -> Any:
    width, depth, heads = STUDENTS[name]
    if len(inputs) == 3:
        video = VideoVisionTransformer(
            img_size=inputs[1:],
            num_frames=inputs[0],
            embed_dims=width,
            depth=depth,
            num_heads=heads,
        )
        return video.to(torch.empty(0).device).eval()  # NumPy makes the position table
    arch = dict(embed_dims=width, num_layers=depth, num_heads=heads, feedforward_channels=4 * width)
    image = ImageVisionTransformer(arch, inputs[0], out_type='avg_featmap')
    return image.to(torch.empty(0).device).eval()


@torch.no_grad()
def _latency(name: str, inputs: tuple[int, ...], device: str) -> float:
    """Median seconds of a forward pass."""
    model, clip = _encoder(name, inputs).to(device), torch.rand(1, 3, *inputs, device=device)
    times = []
    for _ in range(_RUNS + 1):
        start = time.perf_counter()
        model(clip)[-1].flatten()[0].item()  # waits for the device
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def as_markdown(rows: list[ModelSize]) -> str:
    """A table."""
    measured = rows[0].milliseconds is not None
    head = '| encoder | input | parameters (M) | GFLOPs |' + ' ms |' * measured
    lines = [head, '|---|---|---|---|' + '---|' * measured]
    for row in rows:
        inputs = ' x '.join(map(str, row.inputs))
        line = f'| {row.name} | {inputs} | {row.parameters / 1e6:.1f} | {row.gflops:.1f} |'
        lines.append(line + (f' {row.milliseconds:.0f} |' if row.milliseconds else ''))
    return '\n'.join(lines)
