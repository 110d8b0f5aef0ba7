"""Collation of samples with several views."""

from collections.abc import Sequence
from typing import Any

import torch
from amd_mm.registry import FUNCTIONS
from mmengine.dataset import default_collate, pseudo_collate
from torch import Tensor


@FUNCTIONS.register_module()
def flatten_views_collate(batch: Sequence[Any]) -> Any:
    """Make a flat batch of samples or of lists of views.

    B videos with V views each make B * V clips; the views of a video are neighbours. The labels of
    a batch are in one block of memory.

    Returns:
        As MMEngine's ``pseudo_collate``: ``inputs``, a list of tensors, and ``data_samples``, a
        list.

    Raises:
        TypeError: a sample is None or an empty list.
    """
    samples: list[Any] = []
    for number, item in enumerate(batch):
        views = item if isinstance(item, (list, tuple)) else [item]
        if not views or any(view is None for view in views):
            raise TypeError(
                f'sample {number} of the batch is {item!r}. Use a dataset of amd_mm, which '
                'replaces videos that cannot be read'
            )
        samples.extend(views)
    return _share_memory(pseudo_collate(samples))


def _share_memory(batch: dict[str, Any]) -> dict[str, Any]:
    """Put the labels of all samples into one tensor, field by field, where their shapes agree.

    A worker sends tensor by tensor, each at up to 0.5 ms of the training process.
    """
    samples = batch.get('data_samples')
    if not samples or samples[0] is None:
        return batch
    for field, first in samples[0].items():
        values = [sample.get(field) for sample in samples]
        if all(isinstance(value, Tensor) and value.shape == first.shape for value in values):
            for sample, value in zip(samples, torch.stack(values)):
                sample.set_field(value, field)
    return batch


@FUNCTIONS.register_module()
def stack_images_collate(batch: Sequence[Any]) -> Any:
    """MMEngine's ``default_collate``, with the labels of a batch in one block of memory."""
    return _share_memory(default_collate(batch))


@FUNCTIONS.register_module()
def stack_views_collate(batch: Sequence[Any]) -> Any:
    """Make a flat batch like :func:`flatten_views_collate`, with all clips in one tensor.

    The worker writes the clips into one block of shared memory, which is pinned and sent to the
    device once. The memory layout is that of the decoded frames: channels last.

    ``mmaction.ActionDataPreprocessor`` treats the tensor as the clips of one video and returns
    (1, B * V, C, T, H, W). Pre-training and ``mmaction.Recognizer3D`` flatten it; blending (mixup)
    does not and needs :func:`flatten_views_collate`.

    Args:
        batch: samples with ``inputs`` (N, C, T, H, W) of one size.

    Returns:
        ``inputs``, a list of one tensor (B * V * N, C, T, H, W), and ``data_samples``, a list.

    Raises:
        TypeError: a sample is None or an empty list.
        ValueError: the clips differ in size or do not have five dimensions.
    """
    flat = flatten_views_collate(batch)
    shapes = {tuple(clip.shape) for clip in flat['inputs']}
    if len(shapes) > 1 or len(next(iter(shapes))) != 5:
        raise ValueError(
            'stack_views_collate takes clips (N, C, T, H, W) of one size, as '
            "FormatShape(input_format='NCTHW') makes them, but got "
            f'{" and ".join(map(str, sorted(shapes)))}: change the pipeline, or set '
            'collate_fn=dict(type="amd_mm.flatten_views_collate")'
        )
    clips = default_collate(
        [clip.movedim(1, -1) for clip in flat['inputs']]
    )  # (B*V, N, T, H, W, C)
    flat['inputs'] = [clips.flatten(0, 1).movedim(-1, 1)]  # (B*V*N, C, T, H, W)
    return flat
