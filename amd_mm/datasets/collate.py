"""Collation of clips that come with several views."""
from typing import Any, Sequence

from mmengine.dataset import pseudo_collate

from amd_mm.registry import FUNCTIONS


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
    samples = []
    for number, item in enumerate(batch):
        views = item if isinstance(item, (list, tuple)) else [item]
        if not views or any(view is None for view in views):
            raise TypeError(
                f'sample {number} of the batch is {item!r}: the dataset gave '
                'nothing. The datasets of amd_mm replace videos that cannot '
                'be read; a dataset that gives None cannot be collated')
        samples.extend(views)
    return pseudo_collate(samples)
