"""Features of many videos, one file each; an interrupted run continues with the missing ones."""

import json
import os
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import numpy as np
import torch
from amd_mm.datasets import UnreadableVideoError
from amd_mm.datasets.replace_unreadable import raise_open_file_limit
from amd_mm.errors import ConfigError
from mmengine.utils import ProgressBar
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

SETTINGS = 'features.json'
UNREADABLE = 'unreadable.txt'


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


class Part(NamedTuple):
    """Some clips of a sample.

    Attributes:
        sample: its number.
        clips: (V, C, T, H, W), uint8; None if the sample is unreadable.
        last: whether it is the last part of the sample.
        problem: why the sample is unreadable.
    """

    sample: int
    clips: Tensor | None
    last: bool = False
    problem: str = ''


class _Parts(IterableDataset):
    """The parts of samples; each worker reads every n-th sample."""

    def __init__(self, read: Callable[[int], Iterable[Tensor]], indices: Sequence[int]) -> None:
        self.read = read
        self.indices = indices

    def __iter__(self) -> Iterator[Part]:
        worker = get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        for index in self.indices[first::step]:
            try:
                for clips in self.read(index):
                    yield Part(index, clips)
                yield Part(index, None, last=True)
            except UnreadableVideoError as error:
                yield Part(index, None, last=True, problem=str(error.reason))


def extract(
    encode: Callable[[Tensor], Tensor],
    read: Callable[[int], Iterable[Tensor]],
    names: Sequence[str],
    folder: FeatureFolder,
    batch_size: int = 8,
    workers: int = 2,
) -> list[tuple[int, str]]:
    """Encode the samples that are not yet in a folder, with a progress bar.

    Args:
        encode: from clips (B, C, T, H, W), uint8, to features (B, ...) on the CPU.
        read: gives the clips (V, C, T, H, W) of a sample, in parts, or an UnreadableVideoError.
        names: the file of each sample, see :func:`file_names`; it gets (V, ...).
        folder: where features are kept.
        batch_size: clips at a time, of several samples if these have fewer.
        workers: decoding processes.

    Returns:
        (index, reason) of each unreadable sample.
    """
    missing = [index for index, name in enumerate(names) if not folder.has(name)]
    if not missing:
        return []
    raise_open_file_limit()
    parts = DataLoader(
        _Parts(read, missing), batch_size=None, num_workers=min(workers, len(missing))
    )
    problems: list[tuple[int, str]] = []
    features: dict[int, list[Tensor]] = defaultdict(list)
    bar = ProgressBar(len(missing), file=sys.stderr)
    for group in _groups(parts, batch_size):
        for index, values in _encode(encode, group, batch_size):
            features[index].append(values)
        for part in filter(lambda part: part.last, group):
            bar.update()
            found = features.pop(part.sample, [])
            if part.problem:
                problems.append((part.sample, part.problem))
            else:
                folder.save(names[part.sample], torch.cat(found).numpy())
    print(file=sys.stderr)
    return sorted(problems)


def _groups(parts: Iterable[Part], batch_size: int) -> Iterator[list[Part]]:
    """Group parts until their clips fill a batch."""
    group: list[Part] = []
    for part in parts:
        group.append(part)
        if sum(len(one.clips) for one in group if one.clips is not None) >= batch_size:
            yield group
            group = []
    if group:
        yield group


def _encode(
    encode: Callable[[Tensor], Tensor], group: Sequence[Part], batch_size: int
) -> list[tuple[int, Tensor]]:
    """Indices of samples and the features of their clips."""
    parts = [(part.sample, part.clips) for part in group if part.clips is not None]
    if not parts:
        return []
    indices, clips = zip(*parts)
    features = torch.cat([encode(some) for some in torch.cat(clips).split(batch_size)])
    return list(zip(indices, features.split([len(one) for one in clips])))
