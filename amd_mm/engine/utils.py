"""What several hooks ask of the runner."""

from collections.abc import Sequence

from mmengine.hooks import LoggerHook
from mmengine.runner import Runner

DataBatch = dict | Sequence | None


def logger_is_due(runner: Runner, batch_idx: int) -> bool:
    """Whether a ``LoggerHook`` will print a line after this iteration.

    Args:
        runner (Runner): The runner, inside ``after_train_iter``.
        batch_idx (int): Position of the batch in its epoch.
    """
    for hook in runner.hooks:
        if isinstance(hook, LoggerHook) and (
            hook.every_n_inner_iters(batch_idx, hook.interval)
            or hook.end_of_epoch(runner.train_dataloader, batch_idx)
        ):
            return True
    return False


def count_clips(data_batch: DataBatch) -> int:
    """Clips of a collated batch: its samples, or else its ``inputs``.

    Several views of an image are several ``inputs`` and one sample.
    """
    if not isinstance(data_batch, dict):
        return 0
    return len(data_batch.get('data_samples') or data_batch.get('inputs', ()))


def batch_names(data_batch: DataBatch) -> list[str]:
    """Names of the videos of a collated batch, as its samples have them.

    Args:
        data_batch (dict): With ``data_samples``, each with ``filename``,
            ``frame_dir`` or ``img_path`` in its meta information.

    Returns:
        List[str]: One a sample; empty if the batch has no samples.
    """
    if not isinstance(data_batch, dict):
        return []
    samples = data_batch.get('data_samples') or []
    return [_sample_name(sample) for sample in samples]


def _sample_name(sample: object) -> str:
    for key in ('filename', 'frame_dir', 'img_path'):
        name = getattr(sample, key, None)
        if name is not None:
            return str(name)
    return '(no name)'
