"""The content of a collated batch, for hooks."""

from collections.abc import Sequence

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
