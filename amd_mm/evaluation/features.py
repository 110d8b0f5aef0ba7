"""Features of many videos; an interrupted run continues with the missing ones.

amd_mm.embed('videos/', 'work_dirs/run', 'features/')                # one .npy file each
amd_mm.embed('videos/', 'work_dirs/run', 'features.npz')             # or .parquet: one file
amd_mm.embed('videos/', model, 'windows/', window='2s', step='0.5s')
"""

import json
import math
import os
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import numpy as np
import torch
from amd_mm.apis import Source
from amd_mm.datasets import VIDEO_EXTENSIONS, UnreadableVideoError, find_videos, read_list_file
from amd_mm.datasets.inference import Clips, ClipSampling, WindowSampling, input_size, stride_of
from amd_mm.datasets.replace_unreadable import raise_open_file_limit
from amd_mm.errors import ConfigError, VideoError
from amd_mm.inference import Model, load
from mmengine.utils import ProgressBar
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

SETTINGS = 'features.json'
UNREADABLE = 'unreadable.txt'
SINGLE_FILES = ('.npz', '.parquet', '.h5')
_PACKAGES = {'.parquet': 'pyarrow', '.h5': 'h5py'}


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

    def save_times(self, name: str, times: np.ndarray) -> None:
        """Write start and end of the rows of an array, beside it as ``.csv``."""
        rows = ''.join(f'{start:.3f},{end:.3f}\n' for start, end in times)
        text = f'start,end\n{rows}'.encode()
        self._write(str(PurePath(name).with_suffix('.csv')), lambda file: file.write(text))

    def load_times(self, name: str) -> np.ndarray:
        """Read the times (N, 2) of an array."""
        path = (self.folder / name).with_suffix('.csv')
        return np.loadtxt(path, delimiter=',', skiprows=1, ndmin=2)

    def list_unreadable(
        self, problems: Sequence[tuple[str, str]], file_name: str = UNREADABLE
    ) -> None:
        """Write (name, reason) of each to ``unreadable.txt``; without any, remove the file."""
        if not problems:
            (self.folder / file_name).unlink(missing_ok=True)
            return
        lines = ''.join(f'{name}\t{reason}\n' for name, reason in problems)
        self._write(file_name, lambda file: file.write(lines.encode(errors='replace')))

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
        clips: None after the last clip, or if the sample is unreadable.
        last: whether it is the last part of the sample.
        problem: why the sample is unreadable.
    """

    sample: int
    clips: Clips | None
    last: bool = False
    problem: str = ''


class _Parts(IterableDataset):
    """The parts of samples; each worker reads every n-th sample."""

    def __init__(self, read: Callable[[int], Iterable[Clips]], indices: Sequence[int]) -> None:
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
    read: Callable[[int], Iterable[Clips]],
    names: Sequence[str],
    folder: FeatureFolder,
    batch_size: int = 8,
    workers: int = 2,
    times: bool = False,
    clips: int | None = None,
) -> list[tuple[int, str]]:
    """Encode the samples that are not yet in a folder, with a progress bar.

    Args:
        encode: from clips (B, C, T, H, W), uint8, to features (B, ...) on the CPU.
        read: gives the clips of a sample, in parts, or an UnreadableVideoError. The features of the
            views of a clip are averaged.
        names: the file of each sample, see :func:`file_names`; it gets (N, ...), a row a clip.
        folder: where features are kept.
        batch_size: clips at a time, of several samples if these have fewer.
        workers: decoding processes.
        times: write start and end of the clips beside the features.
        clips: of a sample, if all have as many: then the workers read two batches ahead.

    Returns:
        (index, reason) of each unreadable sample.
    """
    missing = [index for index, name in enumerate(names) if not folder.has(name)]
    if not missing:
        return []
    raise_open_file_limit()
    workers = min(workers, len(missing))
    ahead = 2 if workers else None  # parts of each worker
    if workers and clips:  # the end of a sample is a part, too
        ahead = max(2, math.ceil(4 * batch_size / clips / workers))
    parts = DataLoader(
        _Parts(read, missing), batch_size=None, num_workers=workers, prefetch_factor=ahead
    )
    problems: list[tuple[int, str]] = []
    features: dict[int, list[tuple[Tensor, np.ndarray]]] = defaultdict(list)
    bar = ProgressBar(len(missing), file=sys.stderr)
    for group in _groups(parts, batch_size):
        for index, values in _encode(encode, group, batch_size):
            features[index].append(values)
        for part in filter(lambda part: part.last, group):
            bar.update()
            found = features.pop(part.sample, [])
            if part.problem:
                problems.append((part.sample, part.problem))
                continue
            values, seconds = zip(*found)
            if times:  # first: a file of features is complete
                folder.save_times(names[part.sample], np.concatenate(seconds))
            folder.save(names[part.sample], torch.cat(values).numpy())
    print(file=sys.stderr)
    return sorted(problems)


def _groups(parts: Iterable[Part], batch_size: int) -> Iterator[list[Part]]:
    """Group parts until their clips fill a batch."""
    group: list[Part] = []
    for part in parts:
        group.append(part)
        if sum(len(one.clips.pixels) for one in group if one.clips is not None) >= batch_size:
            yield group
            group = []
    if group:
        yield group


def _encode(
    encode: Callable[[Tensor], Tensor], group: Sequence[Part], batch_size: int
) -> list[tuple[int, tuple[Tensor, np.ndarray]]]:
    """Indices of samples, the features of their clips and the times."""
    parts = [(part.sample, part.clips) for part in group if part.clips is not None]
    if not parts:
        return []
    pixels = torch.cat([clips.pixels for _, clips in parts])
    features = torch.cat([encode(some) for some in pixels.split(batch_size)])
    pieces = features.split([len(clips.pixels) for _, clips in parts])
    return [
        (sample, (piece.unflatten(0, (len(clips.times), -1)).mean(1), clips.times))
        for (sample, clips), piece in zip(parts, pieces)
    ]


# -- a collection ------------------------------------------------------------------------------


class Embedded(NamedTuple):
    """What :func:`embed` did.

    Attributes:
        videos: in the collection, or in its shard.
        written: new files.
        unreadable: (name, reason) of each.
        seconds: that it took.
    """

    videos: int
    written: int
    unreadable: list[tuple[str, str]]
    seconds: float


def embed(
    data: str | os.PathLike | Sequence[str | os.PathLike],
    model: Model | Source,
    out: str | os.PathLike,
    *,
    window: int | str | None = None,
    step: int | str | None = None,
    sampling: ClipSampling | None = None,
    tokens: bool = False,
    batch_size: int = 8,
    workers: int = 2,
    shard: str = '1/1',
    device: str | None = None,
    dtype: str = 'float32',
    backend: str = 'pyav',
    data_root: str = '',
    delimiter: str = ' ',
) -> Embedded:
    """Write the features of every video of a collection, and print the throughput.

    Batches hold clips of several videos. The same call continues after an interruption.

    Args:
        data: a folder, searched for videos; a list file; a video; or paths.
        model: from :func:`amd_mm.load`, or its source.
        out: a folder for one ``.npy`` file (N, C) for each video, N clips or windows; with windows
            also a ``.csv`` file of their times. Or a file ``.npz``, ``.parquet`` or ``.h5`` with
            the path, start, end and feature of each clip, which is written at the end from the
            folder ``OUT.parts``.
        window: length of a window in frames (64) or seconds ('2.5s'), see
            :class:`~amd_mm.datasets.inference.WindowSampling`; None takes ``sampling``.
        step: from one window to the next; by default the length of a window.
        sampling: the clips of each video; by default one from its middle.
        tokens: keep every token, (N, T', H', W', C).
        batch_size: clips at a time.
        workers: decoding processes.
        shard: ``'2/8'`` takes the second of eight parts of the videos, so that several machines or
            GPUs can write into one folder. The one that finishes last writes a single file.
        device: of a model given by its source, see :func:`amd_mm.load`.
        dtype: see there; float16 is also the type of the files.
        backend: video reader, see :func:`amd_mm.datasets.open_video`.
        data_root: folder that names in a list start from.
        delimiter: between name and label in a list.

    Raises:
        ConfigError: if the settings do not fit, or differ from those of the folder.
        VideoError: if there is no video.
    """
    if not isinstance(model, Model):
        model = load(model, device, dtype)
    encoder, out, start = model.encoder, Path(out), time.perf_counter()
    number, count = _read_shard(shard)
    single = out.suffix if out.suffix in SINGLE_FILES else ''
    if single and tokens:
        raise ConfigError(f'{out}: tokens need a folder, for one .npy file a video')
    package = _PACKAGES.get(single)
    if package and find_spec(package) is None:
        raise ConfigError(f'{out} needs a package that is not installed: pip install {package}')
    if encoder.frames is None:
        raise ConfigError('the model is for images: give a model of videos')
    paths, names = find_inputs(data, data_root, delimiter)
    if window:
        sampling = model.windows(window, step)
    elif sampling is None:
        sampling = ClipSampling(
            encoder.frames, stride_of(model.cfg), size=input_size(encoder.backbone)
        )
    settings = dict(
        weights=encoder.fingerprint(),
        heads=encoder.backbone.num_heads,
        mean=encoder.mean.flatten().tolist(),
        std=encoder.std.flatten().tolist(),
        tokens=tokens,
        dtype=str(model.dtype).removeprefix('torch.'),
        **asdict(sampling),
    )
    folder = FeatureFolder(f'{out}.parts' if single else out, settings)
    every = file_names(names)
    mine = slice(number - 1, None, count)
    files = every[mine]
    missing = sum(not folder.has(file) for file in files)
    print(
        f'{len(files)} videos, {len(files) - missing} of them done before; to {out} '
        f'on {encoder.mean.device}'
    )
    problems = extract(
        lambda clips: encoder.encode(clips, model.dtype, tokens),
        partial(_read_clips, paths[mine], sampling, backend, batch_size),
        files,
        folder,
        batch_size,
        workers,
        times=bool(window or single),
        clips=None if isinstance(sampling, WindowSampling) else sampling.clips,
    )
    unreadable = [(names[mine][index], reason) for index, reason in problems]
    suffix = f'-{number}of{count}' if count > 1 else ''
    folder.list_unreadable(unreadable, f'unreadable{suffix}.txt')
    seconds = time.perf_counter() - start
    written = missing - len(unreadable)
    print(f'{written} written, {len(unreadable)} unreadable', end='')
    print(f', see {folder.folder / f"unreadable{suffix}.txt"}' if unreadable else '')
    print(f'{seconds:.1f} s, {written / seconds:.2f} videos/s')
    left = [file for file in every if not folder.has(file)]
    listed = sum(len(one.read_text().splitlines()) for one in folder.folder.glob('unreadable*.txt'))
    if single and len(left) <= listed and len(left) < len(every):
        _write_single(folder, every, names, out)
    return Embedded(len(files), written, unreadable, seconds)


def _read_shard(shard: str) -> tuple[int, int]:
    number, slash, count = shard.partition('/')
    if slash and number.isdigit() and count.isdigit() and 1 <= int(number) <= int(count):
        return int(number), int(count)
    raise ConfigError(f"shard={shard!r}: give a part such as '2/8', the second of eight")


def find_inputs(
    data: str | os.PathLike | Sequence[str | os.PathLike], data_root: str = '', delimiter: str = ' '
) -> tuple[list[str], list[str]]:
    """Paths of the videos, and their names below the folder of features."""
    if not isinstance(data, (str, os.PathLike)):
        paths = [os.fspath(one) for one in data]
        return paths, paths
    path = os.fspath(data)
    if os.path.isdir(path):
        names = find_videos(path)
        return [os.path.join(path, name) for name in names], names
    if os.path.splitext(path)[1].lower() in VIDEO_EXTENSIONS:
        if not os.path.isfile(path):
            raise VideoError(f'there is no video {path}')
        return [path], [os.path.basename(path)]
    entries = read_list_file(path, delimiter=delimiter)
    names = list(dict.fromkeys(entry.name for entry in entries))
    return [os.path.join(data_root, name) for name in names], names


def _read_clips(
    paths: Sequence[str], sampling: ClipSampling, backend: str, batch_size: int, index: int
) -> Iterable[Clips]:
    return sampling.read(paths[index], backend, batch_size)


def _write_single(
    folder: FeatureFolder, files: Sequence[str], names: Sequence[str], out: Path
) -> None:
    """Write all clips of the videos that are there as one table."""
    there = [at for at, file in enumerate(files) if folder.has(file)]
    features = [folder.load(files[at]) for at in there]
    paths = np.repeat([names[at] for at in there], [len(one) for one in features])
    times = np.concatenate([folder.load_times(files[at]) for at in there])
    values = np.concatenate(features)
    part = out.with_name(f'.part-{out.name}')  # a name that numpy leaves as it is
    if out.suffix == '.npz':
        np.savez(part, paths=paths, times=times, features=values)
    elif out.suffix == '.h5':
        import h5py

        with h5py.File(part, 'w') as file:
            file.create_dataset('paths', data=paths.astype(object), dtype=h5py.string_dtype())
            file.create_dataset('times', data=times)
            file.create_dataset('features', data=values)
    else:
        import pyarrow
        from pyarrow import parquet

        kind = pyarrow.from_numpy_dtype(values.dtype)
        column = pyarrow.FixedSizeListArray.from_arrays(
            pyarrow.array(values.reshape(-1), kind), values.shape[1]
        )
        rows = dict(path=paths, start=times[:, 0], end=times[:, 1], feature=column)
        parquet.write_table(pyarrow.table(rows), part)
    os.replace(part, out)
    print(f'wrote {out}: {len(values)} rows of {len(there)} videos')
