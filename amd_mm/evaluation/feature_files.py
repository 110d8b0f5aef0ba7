"""Features of many videos, a file each; what is done stays done."""

import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from amd_mm.datasets import ReplaceUnreadableMixin, UnreadableVideoError
from mmaction.datasets.base import BaseActionDataset
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

RECORD = 'features.json'
UNREADABLE = 'unreadable.txt'


class FeatureFolderError(RuntimeError):
    """A folder of features that cannot be used or continued."""


class NamedVideos(ReplaceUnreadableMixin, BaseActionDataset):
    """Videos by their paths, without labels.

    Args:
        paths (Sequence[str]): The files.
        pipeline (list): Transforms.
    """

    def __init__(self, paths: Sequence[str], pipeline: list[dict]) -> None:
        self.paths = list(paths)
        super().__init__('', pipeline=pipeline, test_mode=True)

    def load_data_list(self) -> list[dict]:
        """``filename`` and ``label``, which is -1."""
        return [dict(filename=path, label=-1) for path in self.paths]


def file_names(names: Sequence[str]) -> list[str]:
    """Names of the feature files of videos.

    The folders are kept and the ending becomes ``.npy``. Videos that differ in
    their ending alone keep it: ``a.mp4.npy`` and ``a.avi.npy``. What would
    lead out of the folder (a root, ``..``) is left out.

    Args:
        names (Sequence[str]): Of videos or frame folders.

    Returns:
        List[str]: Relative paths, in the same order.

    Raises:
        FeatureFolderError: If two different names lead to one file.
    """
    inside = [
        PurePath(
            *(part for part in PurePath(name).parts if part not in ('..', PurePath(name).anchor))
        )
        for name in names
    ]
    stems = Counter(_without_ending(one) for one in set(inside))
    made = [
        str(one if stems[_without_ending(one)] > 1 else _without_ending(one)) + '.npy'
        for one in inside
    ]
    owner: dict[str, str] = {}
    for name, file in zip(names, made):
        if owner.setdefault(file, name) != name:
            raise FeatureFolderError(
                f'{owner[file]} and {name} would both be written to {file}; '
                'give them different names'
            )
    return made


def _without_ending(path: PurePath) -> PurePath:
    # Only letters: the `.0` of "clip 1.0" is part of the name.
    return (
        path.with_suffix('')
        if path.suffix[1:].isalnum() and not path.suffix[1:].isdigit()
        else path
    )


class FeatureFolder:
    """A folder of ``.npy`` files made with the same settings.

    Files appear under their names when they are complete, so that an
    interrupted run goes on with those that are missing. The settings are kept
    in ``features.json``: files of another model do not get mixed in.

    Args:
        folder (str | PathLike): Made if need be.
        settings (Dict[str, Any]): Plain values that decide about the features.

    Raises:
        FeatureFolderError: If the folder was made with other settings, or
            holds features that are not from here.
    """

    def __init__(self, folder: 'os.PathLike', settings: dict[str, Any]) -> None:
        self.folder = Path(folder)
        record = self.folder / RECORD
        if record.is_file():
            self._compare(record, settings)
            return
        if self.folder.is_dir() and any(self.folder.rglob('*.npy')):
            raise FeatureFolderError(
                f'{self.folder} holds .npy files without {RECORD}, which says '
                'how they were made; give another folder'
            )
        text = json.dumps(settings, indent=2)
        self._write(RECORD, lambda file: file.write(text.encode()))

    @staticmethod
    def _compare(record: Path, settings: dict[str, Any]) -> None:
        try:
            known = json.loads(record.read_text())
        except ValueError as error:
            raise FeatureFolderError(f'{record} is no JSON: {error}') from None
        wanted = json.loads(json.dumps(settings))
        different = [
            f'{key}: {known.get(key)} there, {wanted.get(key)} asked for'
            for key in sorted({*known, *wanted})
            if known.get(key) != wanted.get(key)
        ]
        if different:
            raise FeatureFolderError(
                f'{record.parent} holds features made otherwise ('
                + '; '.join(different)
                + '); give another folder'
            )

    def has(self, name: str) -> bool:
        """Whether a file is there; if so, it is complete."""
        return (self.folder / name).is_file()

    def save(self, name: str, values: np.ndarray) -> None:
        """Write an array, whole or not at all."""
        self._write(name, lambda file: np.save(file, values))

    def load(self, name: str) -> np.ndarray:
        """Read an array."""
        return np.load(self.folder / name)

    def list_unreadable(self, problems: Sequence[tuple[str, str]]) -> None:
        """Write names and reasons to ``unreadable.txt``, or remove it.

        Args:
            problems (Sequence[Tuple[str, str]]): (name, reason) each.
        """
        if not problems:
            (self.folder / UNREADABLE).unlink(missing_ok=True)
            return
        lines = ''.join(f'{name}\t{reason}\n' for name, reason in problems)
        self._write(UNREADABLE, lambda file: file.write(lines.encode(errors='replace')))

    def _write(self, name: str, write: Callable) -> None:
        target = self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=target.parent, suffix='.part')
        try:
            with os.fdopen(handle, 'wb') as file:
                write(file)
            os.chmod(part, 0o644)
            os.replace(part, target)
        except BaseException:
            os.unlink(part)
            raise


@dataclass(frozen=True)
class _Sample:
    """A decoded video, or why it could not be."""

    index: int
    clips: Tensor
    problem: str = ''


class _Checked(Dataset):
    """Some samples of a data set; unreadable ones as such, not as errors."""

    def __init__(self, dataset: ReplaceUnreadableMixin, indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = list(indices)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> _Sample:
        index = self.indices[position]
        try:
            packed = self.dataset.prepare_data(index)
        except UnreadableVideoError as error:
            return _Sample(index, torch.empty(0), error.reason)
        return _Sample(index, packed['inputs'])


def extract(
    encode: Callable[[Tensor], Tensor],
    dataset: ReplaceUnreadableMixin,
    names: Sequence[str],
    folder: FeatureFolder,
    batch_size: int = 8,
    workers: int = 2,
    on_progress: Callable[[], None] = lambda: None,
) -> list[tuple[int, str]]:
    """Encode the videos of a data set that are not yet in a folder.

    Args:
        encode (Callable[[Tensor], Tensor]): From clips (B, C, T, H, W), uint8,
            to features (B, ...).
        dataset (ReplaceUnreadableMixin): Gives packed samples of clips
            (V, C, T, H, W).
        names (Sequence[str]): The file of each sample, see
            :func:`file_names`.
        folder (FeatureFolder): Gets (V, ...) for each video.
        batch_size (int): Clips at a time; of several videos if they have
            fewer.
        workers (int): Processes that decode.
        on_progress (Callable[[], None]): Called after each video.

    Returns:
        List[Tuple[int, str]]: (index, reason) of the videos that could not be
        read, in rising order.
    """
    todo = [index for index, name in enumerate(names) if not folder.has(name)]
    loader = DataLoader(
        _Checked(dataset, todo), batch_size=None, num_workers=min(workers, len(todo))
    )
    problems: list[tuple[int, str]] = []

    def readable() -> Iterator[_Sample]:
        for sample in loader:
            if sample.problem:
                problems.append((sample.index, sample.problem))
                on_progress()
            else:
                yield sample

    for group in _groups(readable(), batch_size):
        clips = torch.cat([sample.clips for sample in group])
        features = torch.cat([encode(part) for part in clips.split(batch_size)])
        sizes = [len(sample.clips) for sample in group]
        for sample, values in zip(group, features.split(sizes)):
            folder.save(names[sample.index], values.numpy())
            on_progress()
    return sorted(problems)


def _groups(samples: Iterator[_Sample], batch_size: int) -> Iterator[list[_Sample]]:
    """Samples together that make up a batch of clips."""
    group: list[_Sample] = []
    for sample in samples:
        group.append(sample)
        if sum(len(one.clips) for one in group) >= batch_size:
            yield group
            group = []
    if group:
        yield group
