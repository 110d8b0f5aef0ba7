"""Datasets of videos: a list file, folders of frames, or a bare folder.

:class:`ReplaceUnreadableMixin` gives them, and every other dataset of this package, bounded and
reproducible replacement of files that cannot be read.
"""

import contextlib
import logging
import os
import os.path as osp
import resource
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from amd_mm.registry import DATASETS
from mmaction.datasets import RawframeDataset, VideoDataset
from mmaction.datasets.base import BaseActionDataset
from mmengine.logging import print_log

from ..errors import VideoError
from .list_files import ListEntry, read_list_file
from .samplers import SampleKey, seeded_randomness
from .subset import class_balanced_subset, describe_subset
from .video_reader import (
    VIDEO_EXTENSIONS,
    UnreadableVideoError,
    VideoReader,
    describe_error,
    is_out_of_resources,
    printable,
)

if TYPE_CHECKING:  # what the mixin is mixed into
    from mmaction.datasets.base import BaseActionDataset as _Host
else:
    _Host = object

Pipeline = list[dict | Callable]


class ReplaceUnreadableMixin(_Host):
    """Replaces samples that cannot be read. List it before a dataset of MMEngine's kind.

    - In training MMEngine's refetching draws another sample, at most ``max_refetch`` times in a
      row and none twice. In test mode the error is raised: a prediction of another video must
      not take the place of a missing one.
    - The metainfo of every packed sample gets ``filename`` (video or folder), ``sample_index``
      (the index that was read), ``epoch`` (-1 if the sampler does not tell), ``view`` (number of
      the view of a clip) and ``unreadable``: a list of the (path, reason) met before. No
      ``meta_keys`` are needed for these.
    - Indexed by a :class:`~amd_mm.datasets.SampleKey`, a sample depends on seed, epoch and index
      only; indexed by an int, it draws from the ambient generators as stock datasets do.
    """

    def full_init(self) -> None:
        """Load the data list."""
        raise_open_file_limit()
        super().full_init()

    def __getitem__(self, idx: int) -> Any:
        """A packed sample, or the list of views of a clip.

        Raises:
            UnreadableVideoError: in test mode, for an unreadable sample.
            VideoError: ``max_refetch`` replacements in a row, or all samples, are unreadable.
        """
        if not self._fully_initialized:
            self.full_init()
        index = range(len(self))[idx]
        self._tried: list[int] = []
        self._unreadable: list[tuple[str, str]] = []
        ambient = contextlib.nullcontext()
        try:
            with seeded_randomness(idx.entropy()) if isinstance(idx, SampleKey) else ambient:
                packed = super().__getitem__(index)
        except UnreadableVideoError as error:
            raise UnreadableVideoError(
                error.path,
                f'{error.reason}. Testing replaces nothing: repair the file, or test on the clean '
                'list that `tools/check_videos.py --min-frames 1` writes',
            ) from error
        _set_metainfo(packed, epoch=getattr(idx, 'epoch', -1), unreadable=self._unreadable)
        return packed

    def prepare_data(self, idx: int) -> Any:
        """Run the pipeline on one sample; None if it is unreadable and not in test mode."""
        info = self.get_data_info(int(idx))
        name = next((info[key] for key in ('filename', 'frame_dir', 'img_path') if key in info), '')
        try:
            packed = self._run_pipeline(info, name)
        except UnreadableVideoError as error:
            if self.test_mode:
                raise
            self._tried.append(int(idx))
            self._unreadable.append((error.path, error.reason or ''))
            return None
        for view, sample in enumerate(packed if isinstance(packed, list) else [packed]):
            _set_metainfo(sample, filename=name, sample_index=int(idx), view=view)
        return packed

    def _run_pipeline(self, info: dict, name: str) -> Any:
        try:
            packed = self.pipeline(info)
        except UnreadableVideoError:
            raise
        except Exception as error:
            if not _is_files_fault(error):
                raise
            raise UnreadableVideoError(name, describe_error(error)) from error
        finally:
            # A transform between opening and decoding may have failed.
            if isinstance(info.get('video_reader'), VideoReader):
                info['video_reader'].close()
        if packed is None:
            raise UnreadableVideoError(name, 'a transform of the pipeline returned None for it')
        return packed

    def _rand_another(self) -> int:
        """An index that was not tried, for MMEngine's refetching."""
        untried = len(self) - len(self._tried)
        if len(self._tried) > self.max_refetch or untried == 0:
            shown = '\n'.join(f'    {path}: {reason}' for path, reason in self._unreadable)
            raise VideoError(
                f'{len(self._tried)} samples in a row could not be read (max_refetch='
                f'{self.max_refetch}, {len(self)} in the dataset):\n{printable(shown)}\n'
                'Check data_root and data_prefix, then run `python tools/check_videos.py` on the '
                'folder or list, and train on the clean list that it writes'
            )
        while True:
            index = int(np.random.randint(len(self)))
            if index not in self._tried:
                return index


def raise_open_file_limit(wanted: int = 65536) -> None:
    """Raise the soft limit of open files (256 on macOS) as far as the hard limit allows.

    Every tensor that a data loader's worker sends is an open file. At the limit loading ends in
    "received 0 items of ancdata", or hangs.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _is_files_fault(error: Exception) -> bool:
    """Whether a transform of another package failed because of the file.

    True for OSErrors about a file, and for errors raised inside decord or PyAV. Everything else
    is a mistake in the pipeline and must be seen.
    """
    if isinstance(error, OSError):
        return not is_out_of_resources(error)
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    origins = (type(error).__module__, frame.f_globals.get('__name__') or '')
    return any(name.split('.')[0] in ('decord', 'av') for name in origins)


def _set_metainfo(packed: Any, **metainfo: Any) -> None:
    for sample in packed if isinstance(packed, list) else [packed]:
        if isinstance(sample, dict) and 'data_samples' in sample:
            sample['data_samples'].set_metainfo(metainfo)


class _ListDataset(ReplaceUnreadableMixin):
    """Reads a list file; see :mod:`amd_mm.datasets.list_files` for the format.

    Args:
        delimiter: between the fields of a line; a space stands for any white space.
        label_fraction: use only this share of each class, the same samples in every run and on
            every machine; see :func:`~amd_mm.datasets.class_balanced_subset`. For 10 %::

                train_dataloader = dict(dataset=dict(label_fraction=0.1))

        samples_per_class: maximum samples per class; not together with ``label_fraction``.
        subset_seed: another seed chooses other samples.
        multi_class: a line has one or more labels; needs ``num_classes``.
        num_classes: labels must be smaller, if given.
        **host: further arguments of MMAction2's dataset, which rejects unknown names.

    Raises:
        VideoError: the list is missing or a line is wrong.
        ValueError: arguments contradict each other.
    """

    def __init__(
        self,
        ann_file: str,
        pipeline: Pipeline,
        delimiter: str = ' ',
        label_fraction: float | None = None,
        samples_per_class: int | None = None,
        subset_seed: int = 0,
        multi_class: bool = False,
        num_classes: int | None = None,
        **host: Any,
    ) -> None:
        self.list_delimiter = delimiter
        self.subset = None
        if label_fraction is not None or samples_per_class is not None:
            if multi_class:
                raise ValueError(
                    'label_fraction and samples_per_class take a part of each class, which '
                    'multi_class=True (several labels per line) does not allow'
                )
            self.subset = (label_fraction, samples_per_class, subset_seed)
        if multi_class and num_classes is None:
            raise ValueError('multi_class=True needs num_classes, the length of the label vector')
        super().__init__(
            ann_file, pipeline, multi_class=multi_class, num_classes=num_classes, **host
        )

    def _read_entries(self, num_counts: int = 0) -> list[ListEntry]:
        entries = read_list_file(
            self.ann_file, self.list_delimiter, num_counts, self.multi_class, self.num_classes
        )
        if self.subset is None:
            return entries
        labels = [entry.labels[0] if entry.labels else -1 for entry in entries]
        # Samples of one folder of frames differ in the offset.
        names = [' '.join(map(str, (e.name, *e.counts[:-1]))) for e in entries]
        try:
            chosen = class_balanced_subset(labels, names, *self.subset)
        except ValueError as error:
            raise VideoError(f'{self.ann_file}: {error}') from None
        print_log(f'{self.ann_file}: {describe_subset(labels, chosen, self.subset[1])}', 'current')
        return [entries[index] for index in chosen]

    def _label(self, entry: ListEntry) -> int | list[int]:
        if self.multi_class:
            return list(entry.labels)
        return entry.labels[0] if entry.labels else -1

    def _path(self, kind: str, name: str) -> str:
        return osp.join(self.data_prefix.get(kind) or '', name)


@DATASETS.register_module()
class VideoListDataset(_ListDataset, VideoDataset):
    """Videos named in a list file: ``some folder/clip.mp4 3`` per line.

    Labels may be left out in the whole list, as pre-training does not use them. See
    :class:`_ListDataset` for the arguments, and :class:`ReplaceUnreadableMixin` for videos that
    cannot be read.
    """

    def load_data_list(self) -> list[dict]:
        """``filename`` and ``label`` (-1 if there is none)."""
        return [
            dict(filename=self._path('video', entry.name), label=self._label(entry))
            for entry in self._read_entries()
        ]


@DATASETS.register_module()
class RawFrameListDataset(_ListDataset, RawframeDataset):
    """Folders of frames named in a list: ``folder 163 3`` (frames, label) per line.

    With ``with_offset=True`` a line is ``folder offset frames label``. Decode the frames with
    ``amd_mm.CheckedRawFrameDecode``. See :class:`_ListDataset` for the arguments.
    """

    def load_data_list(self) -> list[dict]:
        """``frame_dir``, ``total_frames``, ``label`` and perhaps ``offset``."""
        data_list = []
        for entry in self._read_entries(num_counts=2 if self.with_offset else 1):
            info = dict(
                frame_dir=self._path('img', entry.name),
                total_frames=entry.counts[-1],
                label=self._label(entry),
            )
            if self.with_offset:
                info['offset'] = entry.counts[0]
            data_list.append(info)
        return data_list


@DATASETS.register_module()
class VideoFolderDataset(ReplaceUnreadableMixin, BaseActionDataset):
    """All videos below a folder, in the order of their paths, without labels.

    Args:
        data_root: the folder.
        data_prefix: ``dict(video=folder)`` if the videos are in a folder below ``data_root``.
        recursive: also look in sub-folders.
        extensions: file name endings of videos, in any case of letters.
        **host: further arguments of MMAction2's dataset, which rejects unknown names.

    Raises:
        FileNotFoundError: there is no such folder, or no video in it.
    """

    def __init__(
        self,
        data_root: str,
        pipeline: Pipeline,
        data_prefix: dict = dict(video=''),
        recursive: bool = True,
        extensions: Sequence[str] = VIDEO_EXTENSIONS,
        **host: Any,
    ) -> None:
        self.recursive = recursive
        self.extensions = extensions
        super().__init__('', pipeline, data_root=data_root, data_prefix=data_prefix, **host)

    def load_data_list(self) -> list[dict]:
        """``filename`` and ``label`` (-1) of each video."""
        folder = self.data_prefix.get('video') or self.data_root
        names = find_videos(folder, self.recursive, self.extensions)
        return [dict(filename=osp.join(folder, name), label=-1) for name in names]


def find_videos(
    folder: str, recursive: bool = True, extensions: Sequence[str] = VIDEO_EXTENSIONS
) -> list[str]:
    """Find videos by their file name endings.

    Hidden files and folders are left out (macOS writes ``._clip.mp4`` next to ``clip.mp4``).
    Links are followed, each folder once. A sub-folder that cannot be read (``lost+found``) is
    left out with a warning.

    Returns:
        Sorted paths relative to ``folder``, at least one.

    Raises:
        FileNotFoundError: there is no such folder, or no video in it.
        OSError: the folder itself cannot be read.
    """
    if not folder:
        raise FileNotFoundError('no folder of videos is given: set data_root to it')
    if not osp.isdir(folder):
        raise FileNotFoundError(f'{folder} is not a folder: give a folder of videos')
    endings = tuple('.' + name.lower().lstrip('.') for name in extensions)
    found: list[str] = []
    visited = set()

    def skip(error: OSError) -> None:
        if error.filename == folder:
            raise error
        print_log(
            f'skipped {printable(error.filename)}, which cannot be read: {error.strerror}',
            'current',
            logging.WARNING,
        )

    for place, folders, files in os.walk(folder, onerror=skip, followlinks=True):
        if osp.realpath(place) in visited:
            folders.clear()
            continue
        visited.add(osp.realpath(place))
        # Sorted, so that the same one of two links to a folder counts everywhere.
        folders[:] = sorted(name for name in folders if recursive and name[0] != '.')
        found += [
            osp.relpath(osp.join(place, name), folder)
            for name in files
            if name[0] != '.' and name.lower().endswith(endings)
        ]
    if not found:
        raise FileNotFoundError(
            f'no videos in {folder}{" or below it" if recursive else ""}: no file name ends in '
            f'{", ".join(endings)}. Name files with other endings in a list file'
        )
    return sorted(found)
