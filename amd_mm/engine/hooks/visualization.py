import os.path as osp
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor
from torch.distributed.fsdp import FullyShardedDataParallel

from ...datasets import seeded_randomness
from ...errors import ConfigError
from ...registry import HOOKS
from ...visualization.inputs import read_inputs
from ...visualization.reconstruction import borrowed_note, reconstruct, reconstruction_figure
from ...visualization.style import figure_pixels
from ..utils import batch_names


@HOOKS.register_module()
class ReconstructionVisualizationHook(Hook):
    """Draws during training how the student reconstructs some clips.

    Clips and masks are the same every time, which shows the progress. The picture goes through
    MMEngine's visualizer to the backends of the config: files (``LocalVisBackend``), TensorBoard,
    W&B. Only the main process draws, in evaluation mode; losses and random states do not change.

    Args:
        interval: epochs or iterations between two pictures.
        by_epoch: whether ``interval`` counts epochs. ``IterBasedTrainLoop`` needs False.
        num_clips: number of clips: the first ones of the training set, augmented once.
        files: videos or images to draw instead, their middle.
        stride: from one frame of ``files`` to the next; None takes one frame from each equal part.
        num_frames: frames of a clip to draw, evenly spaced.
        seed: of masks and augmentation.
        name: of the picture in the backends.

    Raises:
        ConfigError: Before training, if the model has no decoder or is sharded (FSDP).
        VideoError: Before training, if one of ``files`` cannot be read.
    """

    priority = 'LOW'  # after the optimizer's step

    def __init__(
        self,
        interval: int = 1,
        by_epoch: bool = True,
        num_clips: int = 2,
        files: Sequence[str] = (),
        stride: int | None = 4,
        num_frames: int = 8,
        seed: int = 0,
        name: str = 'reconstruction',
    ) -> None:
        self.interval, self.by_epoch = interval, by_epoch
        self.num_clips, self.files, self.stride = num_clips, files, stride
        self.num_frames, self.seed, self.name = num_frames, seed, name

    def before_train(self, runner: Runner) -> None:
        """Check the model, and read the clips on the main process."""
        if isinstance(runner.model, FullyShardedDataParallel):
            raise ConfigError(
                'ReconstructionVisualizationHook cannot draw from a sharded model (FSDP): remove '
                'it, and draw from checkpoints with tools/visualize/reconstruction.py'
            )
        model = _unwrap(runner.model)
        if not getattr(model, 'reconstructs', False):
            raise ConfigError(
                f'ReconstructionVisualizationHook: {type(model).__name__} without decoder cannot '
                'reconstruct: remove the hook from custom_hooks'
            )
        if is_main_process():
            with seeded_randomness(np.random.SeedSequence(self.seed)):
                self._inputs, self._names = (
                    self._read_files(model) if self.files else self._first_clips(runner, model)
                )

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

    def _draw(self, runner: Runner, step: int) -> None:
        if not is_main_process():
            return
        model = _unwrap(runner.model)
        with seeded_randomness(np.random.SeedSequence(self.seed)):
            result = reconstruct(model, self._inputs, self.seed)
        figure = reconstruction_figure(
            result,
            model.backbone.patch_shape,
            self._names,
            borrowed_note(model),
            self.num_frames,
            title=f'After {step} iterations',
        )
        runner.visualizer.add_image(self.name, figure_pixels(figure), step)

    def _read_files(self, model: Any) -> tuple[Tensor, list[str]]:
        pixels = read_inputs(model.backbone, self.files, self.stride)
        shape = (-1, *[1] * (pixels.ndim - 2))
        mean, std = (one.view(shape) for one in model.pixel_stats())
        return (pixels.to(mean.device) - mean) / std, list(map(osp.basename, self.files))

    def _first_clips(self, runner: Runner, model: Any) -> tuple[Tensor, list[str]]:
        """The first view of the first samples of the training set, normalised."""
        loader = runner.train_dataloader
        count = min(self.num_clips, len(loader.dataset))
        batch = loader.collate_fn([loader.dataset[index] for index in range(count)])
        inputs = model.data_preprocessor(batch, False)['inputs']
        if not isinstance(inputs, Tensor):  # views of images
            inputs = inputs[0]
        if inputs.ndim > model.backbone.input_dims:  # (B, V, ...) -> (B * V, ...)
            inputs = inputs.flatten(0, 1)
        names = [osp.basename(name) for name in batch_names(batch)]
        return inputs[:: len(inputs) // count], names[:: max(1, len(names) // count)]


def _unwrap(model: Any) -> Any:
    return model.module if is_model_wrapper(model) else model
