import os.path as osp
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor
from torch.distributed.fsdp import FullyShardedDataParallel

from ...datasets import seeded_randomness
from ...datasets.inference import read_clips, stride_of
from ...errors import ConfigError
from ...registry import HOOKS
from ...visualization.plots import figure_pixels
from ...visualization.reconstruction import borrowed_note, reconstruct, reconstruction_figure
from ..utils import first_inputs


@HOOKS.register_module()
class ReconstructionVisualizationHook(Hook):
    """Draw during training how the student reconstructs some clips, always with the same masks.

    Pictures go through MMEngine's visualizer to the backends of the config: files
    (``LocalVisBackend``), TensorBoard, W&B. Losses and random states do not change.

    Args:
        interval: epochs or iterations between two pictures.
        by_epoch: whether ``interval`` counts epochs. ``IterBasedTrainLoop`` needs False.
        num_clips: number of clips: the first ones of the training set, augmented once.
        files: videos or images to draw instead: their middle, in the config's frame stride.
        num_frames: largest number of frames of a clip to draw.

    Raises:
        ConfigError: before training, if the model has no decoder or is sharded (FSDP).
        VideoError: before training, if one of ``files`` cannot be read.
    """

    priority = 'LOW'  # after the optimizer's step

    def __init__(
        self,
        interval: int = 1,
        by_epoch: bool = True,
        num_clips: int = 2,
        files: Sequence[str] = (),
        num_frames: int = 8,
    ) -> None:
        self.interval, self.by_epoch = interval, by_epoch
        self.num_clips, self.files = num_clips, files
        self.num_frames = num_frames

    def before_train(self, runner: Runner) -> None:
        """Check the model, and read the clips."""
        self.model: Any = runner.model.module if is_model_wrapper(runner.model) else runner.model
        reason = None
        if isinstance(runner.model, FullyShardedDataParallel):
            reason = 'a sharded model (FSDP) cannot be drawn during training'
        elif not getattr(self.model, 'reconstructs', False):
            reason = f'{type(self.model).__name__} without decoder cannot reconstruct'
        if reason:
            raise ConfigError(f'{type(self).__name__}: {reason}: remove it from custom_hooks')
        with seeded_randomness(np.random.SeedSequence(0)):
            if self.files:
                self.inputs, names = self._read_files(runner), self.files
            else:
                self.inputs, names = first_inputs(
                    self.model, runner.train_dataloader, self.num_clips
                )
        self.names = [osp.basename(name) for name in names]

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Draw, if ``interval`` counts iterations."""
        if not self.by_epoch and self.every_n_train_iters(runner, self.interval):
            self._draw(runner, runner.iter + 1)  # iterations done, as the logger counts

    def after_train_epoch(self, runner: Runner) -> None:
        """Draw, if ``interval`` counts epochs."""
        if self.by_epoch and self.every_n_epochs(runner, self.interval):
            self._draw(runner, runner.iter)

    @master_only
    def _draw(self, runner: Runner, step: int) -> None:
        with seeded_randomness(np.random.SeedSequence(0)):
            result = reconstruct(self.model, self.inputs)
        patch, note = self.model.backbone.patch_shape, borrowed_note(self.model)
        title = f'After {step} iterations'
        figure = reconstruction_figure(result, patch, self.names, note, self.num_frames, title)
        runner.visualizer.add_image('reconstruction', figure_pixels(figure), step)

    def _read_files(self, runner: Runner) -> Tensor:
        pixels = read_clips(self.model.backbone, self.files, stride_of(runner.cfg))
        shape = (-1, *[1] * (pixels.ndim - 2))
        mean, std = (one.view(shape) for one in self.model.pixel_stats())
        return (pixels.to(mean.device) - mean) / std
