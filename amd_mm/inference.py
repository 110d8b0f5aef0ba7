"""A trained model in three lines.

import amd_mm

model = amd_mm.load('work_dirs/run')
model.features('clip.mp4')        # (views, C)
model.predict('clip.mp4')         # [(class, probability), ...]
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from amd_mm.apis import Source, encoder_of, has_sigmoid, load_model, scope_of
from amd_mm.datasets.inference import (
    Clips,
    ClipSampling,
    Pixels,
    WindowSampling,
    frame_steps,
    is_image,
    read_sample,
    stride_of,
)
from amd_mm.datasets.transforms import PerSecond, Stride
from amd_mm.errors import ConfigError
from amd_mm.models.encoder import Encoder
from mmaction.structures import ActionDataSample
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope
from torch import Tensor

if TYPE_CHECKING:
    from amd_mm.visualization.timeline import Timeline

DTYPES = ('float32', 'float16', 'bfloat16')
_CLIPS = 8  # of a long video at a time


def load(
    source: Source,
    device: str | None = None,
    dtype: str = 'float32',
    *,
    frames: int | None = None,
    size: int | None = None,
    heads: int | None = None,
) -> 'Model':
    """Load a trained model with its preprocessing.

    Args:
        source: a training folder, a model folder, a checkpoint, a name of public weights or
            (config, checkpoint), see :data:`amd_mm.apis.Source`.
        device: None is the accelerator if there is one.
        dtype: see :class:`Model`.
        frames: see :func:`amd_mm.apis.load_model`, for checkpoints without config.
        size: see there.
        heads: see there.

    Raises:
        ConfigError: if the config cannot be used, or is missing and cannot be inferred.
        CheckpointError: if the checkpoint cannot be read or does not fit.
    """
    return Model(load_model(source, device, frames=frames, size=size, heads=heads), dtype)


class Model:
    """A trained model with its preprocessing: features and predictions of videos and images.

    Methods take one video or image (a file, or RGB uint8 values: (T, H, W, 3) or (H, W, 3)), and
    return one result; or a list, a batch (B, T, H, W, 3) or an iterator of them, and yield a
    result for each.

    Args:
        module: from :func:`amd_mm.apis.load_model` or :func:`amd_mm.apis.load_encoder`.
        dtype: ``'float16'`` and ``'bfloat16'`` compute with autocast.

    Attributes:
        module: the PyTorch model, in evaluation mode.
        encoder: its backbone.
        cfg: its config, with ``test_pipeline``.
    """

    def __init__(self, module: Any, dtype: str = 'float32') -> None:
        if dtype not in DTYPES:
            raise ConfigError(f'dtype={dtype!r}: use one of {", ".join(DTYPES)}')
        self.module = module
        self.encoder = module if isinstance(module, Encoder) else encoder_of(module)
        self.cfg = self.encoder.cfg
        self.dtype: torch.dtype = getattr(torch, dtype)

    @property
    def classes(self) -> list[str] | None:
        """Names of the classes, if the checkpoint has them."""
        return getattr(self.module, 'dataset_meta', {}).get('classes')

    def features(
        self,
        source: Pixels | Iterable[Pixels],
        *,
        tokens: bool = False,
        layers: Sequence[int] = (),
        window: int | str | None = None,
        step: int | str | None = None,
        sampling: ClipSampling | None = None,
        backend: str | None = None,
    ) -> Any:
        """Features of each clip of the test pipeline, or of windows along the video.

        Args:
            source: one video or image, or many, see :class:`Model`.
            tokens: return every token instead of their mean.
            layers: blocks whose outputs are returned, without a norm, counted from 1.
            window: length of a window in frames (64) or seconds ('2.5s'), see
                :class:`~amd_mm.datasets.inference.WindowSampling`.
            step: from one window to the next; by default the length of a window.
            sampling: other clips than those of the test pipeline.
            backend: the video reader; by default that of the test pipeline.

        Returns:
            (views, C), or (windows, C), on the CPU; ``tokens`` makes C (T', H', W', C), and
            ``layers`` (L, C) or (L, T', H', W', C). An image is one view.

        Raises:
            VideoError: if the input cannot be read.
        """
        sampling = self.windows(window, step) if window else sampling

        def one(pixels: Pixels) -> Tensor:
            found = []
            for clips in self._read(pixels, sampling, backend):
                values = self.encoder.encode(clips.pixels, self.dtype, tokens, layers)
                if len(clips.times) < len(values) and window:  # several views of a window
                    values = values.unflatten(0, (len(clips.times), -1)).mean(1)
                found.append(values)
            return torch.cat(found)

        return _each(one, source)

    def predict(
        self,
        source: Pixels | Iterable[Pixels],
        top_k: int = 5,
        *,
        labels: Sequence[str] | None = None,
        sampling: ClipSampling | None = None,
        backend: str | None = None,
    ) -> Any:
        """The most likely classes, by the mean over the clips of the test pipeline.

        Args:
            source: one video or image, or many, see :class:`Model`.
            top_k: how many classes.
            labels: names of the classes; by default the checkpoint's, else ``class 0`` and so on.
            sampling: other clips than those of the test pipeline.
            backend: the video reader; by default that of the test pipeline.

        Returns:
            (label, probability), the most likely first.

        Raises:
            ConfigError: if the model has no classifier, or another number of classes.
            VideoError: if the input cannot be read.
        """
        self._check_classifier()

        def one(pixels: Pixels) -> list[tuple[str, float]]:
            total, views = torch.zeros(()), 0
            for clips in self._read(pixels, sampling, backend):
                total = total + len(clips.pixels) * self._scores([clips.pixels])[0]
                views += len(clips.pixels)
            scores = total / views
            if has_sigmoid(self.module):
                scores = scores.sigmoid()
            names = self._labels(labels, len(scores))
            values, index = scores.topk(min(top_k, len(scores)))
            return [(names[at], value) for at, value in zip(index.tolist(), values.tolist())]

        return _each(one, source)

    def timeline(
        self,
        source: Pixels,
        window: int | str | None = None,
        step: int | str | None = None,
        *,
        labels: Sequence[str] | None = None,
        backend: str | None = None,
    ) -> 'Timeline':
        """Predictions along a video of any length.

        The scores of a window are those of testing the cut window as a video with one clip. Only
        the frames of a few windows are in memory.

        Args:
            source: a video file or frames (T, H, W, 3).
            window: length of a window in frames (64) or seconds ('2.5s'), see
                :class:`~amd_mm.datasets.inference.WindowSampling`; by default a clip's.
            step: from one window to the next; by default the length of a window.
            labels: see :meth:`predict`.
            backend: see :meth:`predict`.

        Raises:
            ConfigError: if the model has no classifier of videos, or another number of classes.
            VideoError: if the input cannot be read.
        """
        from amd_mm.visualization.timeline import Timeline  # slow to import: matplotlib

        self._check_classifier()
        sampling = self.windows(window, step)
        times, scores = [], []
        for clips in self._read(source, sampling, backend):
            found = self._scores(clips.pixels.chunk(len(clips.times)))
            scores.append(found.sigmoid() if has_sigmoid(self.module) else found)
            times.append(clips.times)
        values = torch.cat(scores).numpy()
        return Timeline(np.concatenate(times), values, self._labels(labels, values.shape[1]))

    def save(
        self,
        folder: str | os.PathLike,
        licence: str | None = None,
        lineage: Mapping[str, Any] | None = None,
    ) -> str:
        """Write a model folder, see :func:`amd_mm.deployment.save_model_folder`."""
        from amd_mm.deployment import save_model_folder

        return save_model_folder(self.module, self.encoder, folder, licence, lineage)

    def windows(
        self, window: int | str | None = None, step: int | str | None = None
    ) -> WindowSampling:
        """Windows along a video, with the crops of the test pipeline.

        Args:
            window: see :meth:`timeline`.
            step: see there.

        Raises:
            ConfigError: if the model is for images, or a length is wrong.
        """
        frames = self.encoder.frames
        if frames is None:
            raise ConfigError('the model is for images: windows are of videos')
        stride = stride_of(self.cfg)
        return WindowSampling(
            frames,
            stride,
            window=_length_of(frames, stride) if window is None else window,
            step=step,
            steps=frame_steps(self.cfg.test_pipeline),
        )

    def _check_classifier(self) -> None:
        module = self.module
        if not getattr(module, 'with_cls_head', False) and not getattr(module, 'with_head', False):
            raise ConfigError(
                'the model has no classifier, as after pre-training: fine-tune it first '
                '(configs/amd/recognition), or use its features'
            )

    def _labels(self, labels: Sequence[str] | None, count: int) -> list[str]:
        names = list(labels or self.classes or [f'class {number}' for number in range(count)])
        if len(names) != count:
            raise ConfigError(f'{len(names)} labels for a model of {count} classes')
        return names

    def _read(
        self, source: Pixels, sampling: ClipSampling | None, backend: str | None
    ) -> Iterator[Clips]:
        """The clips of a video in parts, or an image (1, 3, H, W), RGB."""
        still = is_image(source) if not isinstance(source, np.ndarray) else source.ndim == 3
        if sampling and not still:
            yield from sampling.read(source, backend or 'pyav', _CLIPS)
            return
        pipeline = sampling.pipeline() if sampling else self.cfg.test_pipeline
        with DefaultScope.overwrite_default_scope(scope_of(self.cfg)):
            inputs = read_sample(pipeline, source, backend)['inputs']
        if self.encoder.frames is None:
            inputs = inputs.flip(0)[None]  # BGR (C, H, W) -> RGB (1, C, H, W)
        yield Clips(inputs, np.full((len(inputs), 2), np.nan))

    @torch.no_grad()
    def _scores(self, samples: Sequence[Tensor]) -> Tensor:
        """Mean scores (B, classes) of the views of each sample, as testing computes them."""
        packed = [dict(inputs=views, data_samples=ActionDataSample()) for views in samples]
        if self.encoder.frames is None:
            from mmpretrain.structures import DataSample

            packed = [dict(inputs=one[0].flip(0), data_samples=DataSample()) for one in samples]
        device = self.encoder.mean.device.type
        with torch.autocast(device, self.dtype, enabled=self.dtype != torch.float32):
            found = self.module.test_step(pseudo_collate(packed))
        return torch.stack([one.pred_score.float().cpu() for one in found])


def _length_of(frames: int, stride: Stride) -> int | str:
    """The length of a clip: frames, or seconds of a model that takes frames by time."""
    return f'{frames / stride.fps}s' if isinstance(stride, PerSecond) else frames * (stride or 4)


def _each(function: Callable[[Pixels], Any], source: Pixels | Iterable[Pixels]) -> Any:
    """The result of one input; a list of those of a list or batch, an iterator of an iterator's."""
    if isinstance(source, Iterator):
        return map(function, source)
    if isinstance(source, (list, tuple)):
        return [function(one) for one in source]
    if isinstance(source, np.ndarray) and source.ndim == 5:
        return [function(one) for one in source]
    return function(source)  # type: ignore[arg-type]
