"""Features of many videos, one file each; an interrupted run continues with the missing ones."""

import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from amd_mm.datasets import ReplaceUnreadableMixin, UnreadableVideoError
from amd_mm.errors import ConfigError
from mmaction.datasets.base import BaseActionDataset
from mmengine.utils import ProgressBar
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

SETTINGS = 'features.json'
UNREADABLE = 'unreadable.txt'


class NamedVideos(ReplaceUnreadableMixin, BaseActionDataset):
    """Videos by their paths, without labels."""

    def __init__(self, paths: Sequence[str], pipeline: list[dict]) -> None:
        self.paths = list(paths)
        super().__init__('', pipeline=pipeline, test_mode=True)

    def load_data_list(self) -> list[dict]:
        """``filename`` and ``label``, which is -1."""
        return [dict(filename=path, label=-1) for path in self.paths]


def file_names(names: Sequence[str]) -> list[str]:
    """Names of the feature files of videos or frame folders, in the same order.

    Folders are kept and the ending becomes ``.npy``. Videos that differ only in their ending
    keep it: ``a.mp4.npy`` and ``a.avi.npy``. A root and ``..`` are left out.

    Raises:
        ConfigError: if two different names lead to one file.
    """
    inside = [
        PurePath(
            *(part for part in PurePath(name).parts if part not in ('..', PurePath(name).anchor))
        )
        for name in names
    ]
    stems = Counter(_without_ending(one) for one in set(inside))
    files = [
        str(one if stems[_without_ending(one)] > 1 else _without_ending(one)) + '.npy'
        for one in inside
    ]
    owner: dict[str, str] = {}
    for name, file in zip(names, files):
        if owner.setdefault(file, name) != name:
            raise ConfigError(
                f'{owner[file]} and {name} would both be written to {file}; rename one of them'
            )
    return files


def _without_ending(path: PurePath) -> PurePath:
    # the `.0` of "clip 1.0" is part of the name
    ending = path.suffix[1:]
    return path.with_suffix('') if ending.isalnum() and not ending.isdigit() else path


class FeatureFolder:
    """A folder of ``.npy`` files made with the same settings, which ``features.json`` keeps.

    Args:
        folder: created if it does not exist.
        settings: plain values that decide about the features.

    Raises:
        ConfigError: if the folder was made with other settings, or holds other features.
    """

    def __init__(self, folder: str | os.PathLike, settings: dict[str, Any]) -> None:
        self.folder = Path(folder)
        path = self.folder / SETTINGS
        if path.is_file():
            known, wanted = json.loads(path.read_text()), json.loads(json.dumps(settings))
            different = [
                f'{key}: {known.get(key)} there, {wanted.get(key)} asked for'
                for key in sorted({*known, *wanted})
                if known.get(key) != wanted.get(key)
            ]
            if different:
                raise ConfigError(
                    f'{folder} holds features with other settings ({"; ".join(different)}); '
                    'give another folder'
                )
        elif self.folder.is_dir() and any(self.folder.rglob('*.npy')):
            raise ConfigError(
                f'{folder} holds .npy files without {SETTINGS}, the record of their settings; '
                'give another folder'
            )
        else:
            self._write(SETTINGS, lambda file: file.write(json.dumps(settings, indent=2).encode()))

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
        """Write (name, reason) of each to ``unreadable.txt``; without any, remove the file."""
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


class _Checked(Dataset):
    """Some samples of a dataset, as (index, clips, ''), or (index, None, reason)."""

    def __init__(self, dataset: ReplaceUnreadableMixin, indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> tuple[int, Tensor | None, str]:
        index = self.indices[position]
        try:
            return index, self.dataset.prepare_data(index)['inputs'], ''
        except UnreadableVideoError as error:
            return index, None, str(error.reason)


def extract(
    encode: Callable[[Tensor], Tensor],
    dataset: ReplaceUnreadableMixin,
    names: Sequence[str],
    folder: FeatureFolder,
    batch_size: int = 8,
    workers: int = 2,
) -> list[tuple[int, str]]:
    """Encode the videos of a dataset that are not yet in a folder, with a progress bar.

    Args:
        encode: from clips (B, C, T, H, W), uint8, to features (B, ...) on the CPU.
        dataset: gives packed samples of clips (V, C, T, H, W).
        names: the file of each sample, see :func:`file_names`; it gets (V, ...).
        folder: where features are kept.
        batch_size: clips at a time, of several videos if these have fewer.
        workers: decoding processes.

    Returns:
        (index, reason) of each unreadable video.
    """
    missing = [index for index, name in enumerate(names) if not folder.has(name)]
    if not missing:
        return []
    samples = DataLoader(
        _Checked(dataset, missing), batch_size=None, num_workers=min(workers, len(missing))
    )
    problems: list[tuple[int, str]] = []
    bar = ProgressBar(len(missing), file=sys.stderr)

    def readable() -> Iterator[tuple[int, Tensor]]:
        for index, clips, problem in samples:
            bar.update()
            if problem:
                problems.append((index, problem))
            else:
                yield index, clips

    for group in _groups(readable(), batch_size):
        indices, clips = zip(*group)
        parts = torch.cat(clips).split(batch_size)
        features = torch.cat([encode(part) for part in parts])
        for index, values in zip(indices, features.split([len(one) for one in clips])):
            folder.save(names[index], values.numpy())
    print(file=sys.stderr)
    return sorted(problems)


def _groups(
    samples: Iterator[tuple[int, Tensor]], batch_size: int
) -> Iterator[list[tuple[int, Tensor]]]:
    """Group samples until their clips fill a batch."""
    group: list[tuple[int, Tensor]] = []
    for sample in samples:
        group.append(sample)
        if sum(len(clips) for _, clips in group) >= batch_size:
            yield group
            group = []
    if group:
        yield group
