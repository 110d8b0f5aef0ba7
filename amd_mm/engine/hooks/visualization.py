import os.path as osp
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from amd_mm.registry import HOOKS
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor

from ..utils import DataBatch, batch_names


@HOOKS.register_module()
class ReconstructionVisualizationHook(Hook):
    """Shows during training what the student makes of some clips.

    The clips and their masks are the same every time, so that progress can be
    seen. The picture goes to MMEngine's visualizer and from there to the
    backends of the config: files (``LocalVisBackend``), TensorBoard, W&B.

    Only the main process draws, in evaluation mode and float32. Random states
    and the mode of the model are left as they were: the run learns what it
    would have learnt without this hook.

    Args:
        interval (int): Draw every so many epochs, or iterations.
        by_epoch (bool): Whether ``interval`` counts epochs. Runs by
            iterations (``IterBasedTrainLoop``) need False.
        num_clips (int): Clips or images of the training set to show, its
            first ones, cropped at random once.
        files (Sequence[str], optional): Videos or images to show instead;
            their middle is taken.
        stride (int, optional): From one frame of these videos to the next;
            None takes one from each equal part of a video.
        num_frames (int): Frames of a clip to show, evenly spaced.
        seed (int): Of the masks and crops.
        name (str): Of the picture in the backends.

    Raises:
        ValueError: If a number is not positive; before training if the model
            does not reconstruct, or is sharded (FSDP).
        FileNotFoundError: Before training, if a file is not there.
    """

    # After the step, and after what logs it.
    priority = 'LOW'

    def __init__(
        self,
        interval: int = 1,
        by_epoch: bool = True,
        num_clips: int = 2,
        files: Sequence[str] | None = None,
        stride: int | None = 4,
        num_frames: int = 8,
        seed: int = 0,
        name: str = 'reconstruction',
    ) -> None:
        if min(interval, num_clips, num_frames) < 1:
            raise ValueError(
                'interval, num_clips and num_frames must be at least 1, got '
                f'{interval}, {num_clips} and {num_frames}'
            )
        self.interval = interval
        self.by_epoch = by_epoch
        self.num_clips = num_clips
        self.files = None if files is None else list(files)
        self.stride = stride
        self.num_frames = num_frames
        self.seed = seed
        self.name = name
        self._inputs: Tensor | None = None
        self._names: list[str] = []

    def before_train(self, runner: Runner) -> None:
        """Check on all processes, read on the main one."""
        model = _bare(runner.model)
        if not getattr(model, 'reconstructs', False):
            raise ValueError(
                f'ReconstructionVisualizationHook: a {type(model).__name__} '
                'without decoder reconstructs nothing; remove the hook from '
                'custom_hooks'
            )
        for path in self.files or ():
            if not osp.isfile(path):
                raise FileNotFoundError(f'ReconstructionVisualizationHook: there is no file {path}')
        if not is_main_process():
            return
        if self.files is None:
            self._inputs, self._names = self._from_dataset(runner, model)
        else:
            self._inputs, self._names = self._from_files(model)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: DataBatch = None,
        outputs: dict | None = None,
    ) -> None:
        """Draw if that is due by iterations."""
        if not self.by_epoch and self.every_n_train_iters(runner, self.interval):
            # As the logger counts: iterations done.
            self._draw(runner, runner.iter + 1)

    def after_train_epoch(self, runner: Runner) -> None:
        """Draw if that is due by epochs."""
        if self.by_epoch and self.every_n_epochs(runner, self.interval):
            self._draw(runner, runner.iter)

    def _draw(self, runner: Runner, step: int) -> None:
        if not is_main_process() or self._inputs is None:
            return
        from amd_mm.visualization.figures import figure_pixels
        from amd_mm.visualization.reconstructions import (
            borrows_statistics,
            reconstruct,
            reconstruction_figure,
        )

        model = _bare(runner.model)
        figure = reconstruction_figure(
            reconstruct(model, self._inputs, self.seed),
            model.backbone.patch_shape,
            names=self._names,
            borrows_statistics=borrows_statistics(model),
            max_frames=self.num_frames,
            title=f'After {step} iterations',
        )
        runner.visualizer.add_image(self.name, figure_pixels(figure), step)

    def _from_dataset(self, runner: Runner, model: Any) -> tuple[Tensor, list[str]]:
        """The first clips of the training set, normalised."""
        from amd_mm.datasets.sampling import seeded_randomness

        dataset = runner.train_dataloader.dataset
        count = min(self.num_clips, len(dataset))
        with seeded_randomness(np.random.SeedSequence(self.seed)):
            samples = [_first_view(dataset[index]) for index in range(count)]
        clips = [sample['inputs'] for sample in samples]
        batch = dict(
            # Images are collated by MMPretrain's loaders, clips are not.
            inputs=torch.stack(clips) if clips[0].ndim == 3 else clips,
            data_samples=[sample.get('data_samples') for sample in samples],
        )
        inputs = model.data_preprocessor(batch, False)['inputs']
        names = [osp.basename(name) for name in batch_names(batch)]
        return inputs.cpu(), names

    def _from_files(self, model: Any) -> tuple[Tensor, list[str]]:
        """The files, normalised."""
        from amd_mm.visualization.inputs import read_inputs
        from amd_mm.visualization.model_files import frames_of, normalise, size_of

        paths = [str(path) for path in self.files or ()]
        inputs = read_inputs(paths, frames_of(model.backbone), size_of(model.backbone), self.stride)
        stats = [one.cpu() for one in model.pixel_stats()]
        return normalise(inputs, *stats), [osp.basename(p) for p in paths]


def _bare(model: Any) -> Any:
    """The model without its wrapper.

    Raises:
        ValueError: If its weights are spread over the processes: one of them
            cannot compute alone.
    """
    if not is_model_wrapper(model):
        return model
    if any('FullyShardedDataParallel' in c.__name__ for c in type(model).__mro__):
        raise ValueError(
            'ReconstructionVisualizationHook cannot draw from a sharded model '
            '(FSDP): remove the hook, and draw from its checkpoints with '
            'tools/visualize/reconstruction.py'
        )
    return model.module


def _first_view(sample: Any) -> dict:
    """One view of a sample, which may be or have a list of them.

    Returns:
        dict: Its ``inputs`` are a clip (1, C, T, H, W) or an image (C, H, W).
    """
    if isinstance(sample, (list, tuple)):
        sample = sample[0]
    inputs = sample['inputs']
    if isinstance(inputs, (list, tuple)):
        inputs = inputs[0]
    if inputs.ndim == 4:
        inputs = inputs.unsqueeze(0)
    return dict(sample, inputs=inputs[:1] if inputs.ndim == 5 else inputs)
