"""Collation of clips that come with several views."""

from collections.abc import Sequence
from typing import Any

from amd_mm.registry import FUNCTIONS
from mmengine.dataset import pseudo_collate
from torch.utils.data import default_collate


@FUNCTIONS.register_module()
def flatten_views_collate(batch: Sequence[Any]) -> Any:
    """Make one flat batch of samples, or of lists of views of samples.

    A batch of B videos with N views each has B * N clips, the views of one
    video next to each other.

    Args:
        batch (Sequence[dict or list[dict]]): What the dataset gave.

    Returns:
        dict: As MMEngine's ``pseudo_collate`` makes it: ``inputs`` a list of
        tensors, ``data_samples`` a list.

    Raises:
        TypeError: A sample is None or an empty list.
    """
    samples: list[Any] = []
    for number, item in enumerate(batch):
        views = item if isinstance(item, (list, tuple)) else [item]
        if not views or any(view is None for view in views):
            raise TypeError(
                f'sample {number} of the batch is {item!r}: the dataset gave '
                'nothing. The datasets of amd_mm replace videos that cannot '
                'be read; a dataset that gives None cannot be collated'
            )
        samples.extend(views)
    return pseudo_collate(samples)


@FUNCTIONS.register_module()
def one_tensor_collate(batch: Sequence[Any]) -> Any:
    """Make one flat batch as :func:`flatten_views_collate`, of one tensor.

    The clips are put into one block of memory by the worker that made them:
    one is shared with the training process, pinned and sent to the device,
    not one for each clip. In memory a clip stays as it was decoded, frame by
    frame with the colours of a pixel together.

    To ``mmaction.ActionDataPreprocessor``, which takes a list, they are the
    clips of one video: it gives (1, B * N, C, T, H, W). Pre-training and
    ``mmaction.Recognizer3D`` flatten that; blending (mixup) does not, and
    needs :func:`flatten_views_collate`.

    Args:
        batch (Sequence[dict or list[dict]]): What the dataset gave, with
            clips (V, C, T, H, W) of one size as ``inputs``.

    Returns:
        dict: ``inputs`` a list of one tensor (B * N * V, C, T, H, W), in
        shared memory if made by a worker; ``data_samples`` a list.

    Raises:
        TypeError: A sample is None or an empty list.
        ValueError: The clips differ in size, or are of another shape.
    """
    flat = flatten_views_collate(batch)
    shapes = {tuple(clip.shape) for clip in flat['inputs']}
    if len(shapes) > 1 or len(next(iter(shapes))) != 5:
        raise ValueError(
            'one_tensor_collate takes clips (V, C, T, H, W) of one size, as '
            "FormatShape(input_format='NCTHW') gives them, but got "
            f'{" and ".join(map(str, sorted(shapes)))}: change the pipeline, '
            'or set collate_fn to amd_mm.flatten_views_collate'
        )
    # As they lie in memory (FormatShape turns axes, it does not copy), so
    # that this copies, too, without turning.
    clips = default_collate([clip.movedim(1, -1) for clip in flat['inputs']])
    flat['inputs'] = [clips.flatten(0, 1).movedim(-1, 1)]
    return flat
