"""Files of predictions, as ``tools/test.py --dump`` writes them."""

import io
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from amd_mm.datasets.pickles import NumbersUnpickler
from torch import Tensor


class PredictionsError(ValueError):
    """A file of predictions that cannot be used; the message names it."""


@dataclass(frozen=True)
class Predictions:
    """What was predicted for labelled videos, in the order of the data set.

    Attributes:
        source (str): The file.
        labels (np.ndarray): (N, ), int64, the true classes.
        predicted (np.ndarray): (N, ), int64, the classes of highest score.
        num_classes (int): How many scores there are for each video.
        videos (Tuple[str, ...]): N file names without folder and ending;
            empty if the file does not tell (stock data sets do not note
            them).
    """

    source: str
    labels: np.ndarray
    predicted: np.ndarray
    num_classes: int
    videos: tuple[str, ...] = ()

    @property
    def correct(self) -> np.ndarray:
        """(N, ), bool."""
        return self.labels == self.predicted


def read_predictions(path: str | Path) -> Predictions:
    """Read the predictions that ``--dump`` wrote for recognition.

    The file is a pickle. Only tensors, arrays and plain containers are read
    from it; nothing in it is run.

    Args:
        path (str | Path): The file.

    Returns:
        Predictions: Of all videos in it.

    Raises:
        PredictionsError: If it is not such a file, or a video in it has no
            label or several.
    """
    samples = _read(Path(path))
    if not isinstance(samples, list) or not samples:
        raise PredictionsError(
            f'{path} does not hold a list of predictions: give a file that '
            '`tools/test.py --dump` wrote'
        )
    scores = [_scores(sample, at, path) for at, sample in enumerate(samples)]
    counts = sorted({len(one) for one in scores})
    if len(counts) > 1:
        raise PredictionsError(f'{path}: some videos have {counts[0]} scores, others {counts[-1]}')
    labels = [_label(sample, counts[0], at, path) for at, sample in enumerate(samples)]
    names = [str(sample.get('filename') or sample.get('frame_dir') or '') for sample in samples]
    return Predictions(
        source=str(path),
        labels=np.array(labels, dtype=np.int64),
        predicted=np.array([int(one.argmax()) for one in scores], np.int64),
        num_classes=counts[0],
        videos=tuple(Path(name).stem for name in names) if all(names) else (),
    )


def _scores(sample: Any, at: int, path: str | Path) -> np.ndarray:
    """(C, ), of one video."""
    if not isinstance(sample, dict) or 'pred_score' not in sample:
        raise PredictionsError(
            f'{path}: entry {at} has no pred_score; predictions of '
            'recognition are compared, not of detection'
        )
    scores = np.asarray(_array(sample['pred_score']))
    if scores.ndim != 1:
        raise PredictionsError(
            f'{path}: the pred_score of entry {at} has shape {scores.shape} '
            'instead of (classes, ): test with '
            "model.cls_head.average_clips='prob'"
        )
    return scores


def _label(sample: dict, num_classes: int, at: int, path: str | Path) -> int:
    label = np.asarray(_array(sample.get('gt_label', [])))
    if label.size != 1:
        raise PredictionsError(
            f'{path}: entry {at} has {label.size} labels; one label for each video is needed'
        )
    value = int(label.reshape(-1)[0])
    if not 0 <= value < num_classes:
        raise PredictionsError(
            f'{path}: entry {at} has the label {value}, which is none of the '
            f'{num_classes} classes'
            f'{" (-1: the list has no labels)" if value < 0 else ""}'
        )
    return value


def _array(value: Any) -> Any:
    # Through float32, because NumPy has no bfloat16.
    if isinstance(value, Tensor):
        value = value.float() if value.is_floating_point() else value
        return value.numpy()
    return value


def _read(path: Path) -> Any:
    try:
        with path.open('rb') as file:
            return _PredictionsUnpickler(file).load()
    except OSError as error:
        raise PredictionsError(f'{path} cannot be read: {error}') from error
    except Exception as error:  # a damaged pickle raises nearly anything
        raise PredictionsError(
            f'{path} is no file of predictions, or is damaged: {type(error).__name__}: {error}'
        ) from error


class _PredictionsUnpickler(NumbersUnpickler):
    """Tensors beside what its base reads: plain containers and arrays."""

    def find_class(self, module: str, name: str) -> Any:
        """Look up how to read something."""
        if (module, name) == ('torch.storage', '_load_from_bytes'):
            return _load_storage
        if (module, name) in (
            ('torch._utils', '_rebuild_tensor_v2'),
            ('torch', 'Size'),
            ('collections', 'OrderedDict'),
        ):
            return pickle.Unpickler.find_class(self, module, name)
        return super().find_class(module, name)


def _load_storage(content: bytes) -> Any:
    """The numbers of a tensor; torch's own function would run a pickle."""
    return torch.load(io.BytesIO(content), map_location='cpu', weights_only=True)
