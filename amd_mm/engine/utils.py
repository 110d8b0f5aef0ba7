"""The content of a collated batch, for hooks."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader

DataBatch = dict | Sequence | None


def count_clips(data_batch: DataBatch) -> int:
    """Number of clips: of ``data_samples``, or else of ``inputs``.

    Several views of an image are several ``inputs`` of one sample.
    """
    if not isinstance(data_batch, dict):
        return 0
    return len(data_batch.get('data_samples') or data_batch.get('inputs', ()))


def batch_names(data_batch: DataBatch) -> list[str]:
    """File name of each sample, from its meta information; empty without samples."""
    if not isinstance(data_batch, dict):
        return []
    samples = data_batch.get('data_samples') or []
    return [
        next(
            (
                str(getattr(sample, key))
                for key in ('filename', 'frame_dir', 'img_path')
                if getattr(sample, key, None) is not None
            ),
            '(no name)',
        )
        for sample in samples
    ]


def first_inputs(model: Any, loader: DataLoader, count: int) -> tuple[Tensor, list[str]]:
    """The first view of the first samples of a training set, normalised, and the samples' names."""
    count = min(count, len(loader.dataset))  # type: ignore[arg-type]
    batch = loader.collate_fn([loader.dataset[index] for index in range(count)])
    inputs = model.data_preprocessor(batch, False)['inputs']
    if not isinstance(inputs, Tensor):  # views of images
        inputs = inputs[0]
    if inputs.ndim > model.backbone.input_dims:  # (B, V, ...) -> (B * V, ...)
        inputs = inputs.flatten(0, 1)
    names = batch_names(batch)
    return inputs[:: len(inputs) // count], names[:: max(1, len(names) // count)]
