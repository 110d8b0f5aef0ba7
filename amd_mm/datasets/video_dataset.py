"""Datasets of videos: from a list file, from folders of frames, or from a folder of videos."""

import os.path as osp
from collections.abc import Callable, Sequence
from typing import Any

from amd_mm.registry import DATASETS
from mmaction.datasets import RawframeDataset, VideoDataset
from mmaction.datasets.base import BaseActionDataset
from mmengine.logging import print_log

from ..errors import VideoError
from .files import check_frame_names, find_files, read_lines
from .list_files import ListEntry, find_named, read_list_file
from .replace_unreadable import ReplaceUnreadableMixin
from .segments import SEGMENT_CACHE, check_reader, cut_into_segments
from .subset import class_balanced_subset, describe_subset
from .video_reader import VIDEO_EXTENSIONS

Pipeline = list[dict | Callable]


class _ListDataset(ReplaceUnreadableMixin):
    """A dataset with a list file; :mod:`amd_mm.datasets.list_files` describes the format.

    Args:
        delimiter: separates the fields of a line; a space stands for any white space.
        label_fraction: use only this share of each class (0.1 for 10 %), the same samples in
            every run and on every machine; see :func:`~amd_mm.datasets.class_balanced_subset`.
        samples_per_class: maximum samples per class, instead of ``label_fraction``.
        subset_seed: another seed chooses other samples.
        multi_class: a line has one or more labels; needs ``num_classes``.
        num_classes: if given, labels must be smaller; by default the number of ``classes``.
        classes: names of the classes in the order of their labels, or a text file with one a line.
            Labels in the list may then be names, and checkpoints keep the names.
        **host: other arguments of MMAction2's dataset, which rejects unknown names.

    Raises:
        VideoError: the list is missing or a line is wrong.
        ValueError: the arguments contradict each other.
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
        classes: Sequence[str] | str = (),
        **host: Any,
    ) -> None:
        if isinstance(classes, str):
            classes = [line for _, line in read_lines(osp.join(host.get('data_root', ''), classes))]
        if classes:
            host['metainfo'] = dict(host.get('metainfo') or {}, classes=tuple(classes))
            num_classes = len(classes) if num_classes is None else num_classes
        self.list_delimiter = delimiter
        self.subset = None
        if label_fraction is not None or samples_per_class is not None:
            if multi_class:
                raise ValueError(
                    'label_fraction and samples_per_class need one label per line: they do not '
                    'work with multi_class=True'
                )
            self.subset = (label_fraction, samples_per_class, subset_seed)
        if multi_class and num_classes is None:
            raise ValueError('multi_class=True needs num_classes, the length of the label vector')
        super().__init__(
            ann_file, pipeline, multi_class=multi_class, num_classes=num_classes, **host
        )

    def _read_entries(self, num_counts: int = 0) -> list[ListEntry]:
        entries = read_list_file(
            self.ann_file,
            self.list_delimiter,
            num_counts,
            self.multi_class,
            self.num_classes,
            self.metainfo.get('classes', ()),
        )
        if self.subset is None:
            return entries
        labels = [entry.labels[0] if entry.labels else -1 for entry in entries]
        # Samples from the same folder of frames differ in the offset.
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
        return find_named(self.data_prefix.get(kind) or '', name)


@DATASETS.register_module()
class VideoListDataset(_ListDataset, VideoDataset):
    """Videos named in a list file: ``some folder/clip.mp4 3`` per line.

    A list for pre-training needs no labels. See :class:`_ListDataset` for the other arguments and
    :class:`ReplaceUnreadableMixin` for videos that cannot be read.

    Args:
        segment_seconds: each segment of so many seconds is a sample, with the label of its video;
            see :func:`~amd_mm.datasets.cut_into_segments`.
        segment_cache: file that keeps the segments for the next run.
    """

    def __init__(
        self,
        ann_file: str,
        pipeline: Pipeline,
        segment_seconds: float | None = None,
        segment_cache: str = SEGMENT_CACHE,
        **host: Any,
    ) -> None:
        check_reader(pipeline, segment_seconds)
        self.segments = segment_seconds, segment_cache
        super().__init__(ann_file, pipeline, **host)

    def load_data_list(self) -> list[dict]:
        """``filename``, ``label`` (-1 without labels) and perhaps ``segment``."""
        videos = [
            dict(filename=self._path('video', entry.name), label=self._label(entry))
            for entry in self._read_entries()
        ]
        return cut_into_segments(videos, *self.segments)


@DATASETS.register_module()
class RawFrameListDataset(_ListDataset, RawframeDataset):
    """Folders of frames named in a list: ``folder 163 3`` (frames, label) per line.

    With ``with_offset=True`` a line is ``folder offset frames label``. Decode the frames with
    ``amd_mm.CheckedRawFrameDecode``. See :class:`_ListDataset` for the arguments. If
    ``start_index`` (1) or ``filename_tmpl`` (``'img_{:05}.jpg'``) do not fit the frames, an error
    names the values that do.
    """

    def load_data_list(self) -> list[dict]:
        """``frame_dir``, ``total_frames``, ``label`` and perhaps ``offset``."""
        data_list = []
        for entry in self._read_entries(num_counts=2 if self.with_offset else 1):
            info: dict[str, Any] = dict(
                frame_dir=self._path('img', entry.name),
                total_frames=entry.counts[-1],
                label=self._label(entry),
            )
            if self.with_offset:
                info['offset'] = entry.counts[0]
            data_list.append(info)
        self._check_names([info['frame_dir'] for info in data_list])
        return data_list

    def _check_names(self, folders: list[str]) -> None:
        """Look into the first folders: one of them may be damaged, but not all."""
        problems = []
        for folder in filter(osp.isdir, folders[:10]):
            try:
                check_frame_names(folder, self.filename_tmpl, self.start_index)
            except VideoError as error:
                problems.append(error)
            else:
                return
        if problems:
            raise problems[0]


@DATASETS.register_module()
class VideoFolderDataset(ReplaceUnreadableMixin, BaseActionDataset):
    """All videos in a folder and its sub-folders, sorted by path, without labels.

    Args:
        data_root: the folder.
        data_prefix: ``dict(video=folder)`` if the videos are in a folder below ``data_root``.
        recursive: also search sub-folders.
        extensions: file name endings of videos, in lower or upper case.
        segment_seconds: each segment of so many seconds is a sample; see
            :func:`~amd_mm.datasets.cut_into_segments`.
        segment_cache: file that keeps the segments for the next run.
        **host: other arguments of MMAction2's dataset, which rejects unknown names.

    Raises:
        FileNotFoundError: the folder does not exist or has no videos.
    """

    def __init__(
        self,
        data_root: str,
        pipeline: Pipeline,
        data_prefix: dict = dict(video=''),
        recursive: bool = True,
        extensions: Sequence[str] = VIDEO_EXTENSIONS,
        segment_seconds: float | None = None,
        segment_cache: str = SEGMENT_CACHE,
        **host: Any,
    ) -> None:
        self.recursive = recursive
        check_reader(pipeline, segment_seconds)
        self.segments = segment_seconds, segment_cache
        self.extensions = extensions
        super().__init__('', pipeline, data_root=data_root, data_prefix=data_prefix, **host)

    def load_data_list(self) -> list[dict]:
        """``filename``, ``label`` (-1) and perhaps ``segment``."""
        folder = self.data_prefix.get('video') or self.data_root
        names = find_videos(folder, self.recursive, self.extensions)
        videos = [dict(filename=osp.join(folder, name), label=-1) for name in names]
        return cut_into_segments(videos, *self.segments)


def find_videos(
    folder: str, recursive: bool = True, extensions: Sequence[str] = VIDEO_EXTENSIONS
) -> list[str]:
    """Find videos by their file name endings, as :func:`~amd_mm.datasets.files.find_files` does.

    Returns:
        Sorted paths relative to ``folder``, at least one.

    Raises:
        FileNotFoundError: the folder does not exist or has no videos.
    """
    if not folder:
        raise FileNotFoundError('no folder of videos is given: set data_root to it')
    if not osp.isdir(folder):
        raise FileNotFoundError(f'{folder} is not a folder: give a folder of videos')
    found = find_files(folder, extensions, recursive)
    if not found:
        raise FileNotFoundError(
            f'no videos in {folder}{" or below it" if recursive else ""}: no file name ends in '
            f'{", ".join(extensions)}. Name files with other endings in a list file'
        )
    return found
