"""Datasets over lists of videos, lists of frame folders, and bare folders."""

import os.path as osp
from collections.abc import Callable, Sequence

from amd_mm.registry import DATASETS
from mmaction.datasets import RawframeDataset, VideoDataset
from mmaction.datasets.base import BaseActionDataset
from mmengine.logging import print_log

from .folder_search import find_videos
from .list_files import ListEntry, ListFileError, read_list_file
from .replacing import ReplaceUnreadableMixin
from .subset import NO_LABEL, LabelBudget
from .video_reader import VIDEO_EXTENSIONS

Pipeline = list[dict | Callable]


def _join(prefix: str | None, name: str) -> str:
    return osp.join(prefix, name) if prefix else name


def _label(entry: ListEntry) -> int:
    return entry.labels[0] if entry.labels else NO_LABEL


def _labels(entry: ListEntry, multi_class: bool) -> int | list[int]:
    return list(entry.labels) if multi_class else _label(entry)


def _label_budget(
    fraction: float | None, per_class: int | None, seed: int, multi_class: bool
) -> LabelBudget | None:
    """The budget that a dataset's arguments ask for, if they do."""
    if fraction is None and per_class is None:
        return None
    if fraction is not None and per_class is not None:
        raise ValueError(
            f'label_fraction={fraction} and clips_per_class={per_class} are '
            'both given; one of them is enough'
        )
    if multi_class:
        raise ValueError(
            'label_fraction and clips_per_class take a part of each class, '
            'which multi_class=True (several labels a line) does not allow'
        )
    try:
        return LabelBudget(fraction, per_class, seed)
    except ValueError as error:
        raise ValueError(
            f'label_fraction={fraction}, clips_per_class={per_class}: {error}'
        ) from None


def _within(budget: LabelBudget | None, entries: list[ListEntry], ann_file: str) -> list[ListEntry]:
    """The entries that a budget allows, and a line in the log about them."""
    if budget is None:
        return entries
    labels = [_label(entry) for entry in entries]
    # One folder of frames may hold several samples, told apart by offsets.
    names = [' '.join(map(str, (e.name, *e.counts[:-1]))) for e in entries]
    try:
        chosen = budget.choose(labels, names)
    except ValueError as error:
        raise ListFileError(ann_file, str(error)) from None
    print_log(f'{ann_file}: {budget.report(labels, chosen)}', 'current')
    return [entries[index] for index in chosen]


def _check_classes(multi_class: bool, num_classes: int | None) -> None:
    if multi_class and num_classes is None:
        raise ValueError('multi_class=True needs num_classes, the length of the vector of labels')


@DATASETS.register_module()
class VideoListDataset(ReplaceUnreadableMixin, VideoDataset):
    """Videos named in a list file: ``some folder/clip.mp4 3`` per line.

    Names may contain spaces; labels may be left out in the whole list, as
    pre-training does not use them. See :mod:`amd_mm.datasets.list_files`
    for the format and :class:`~amd_mm.datasets.ReplaceUnreadableMixin` for
    what happens to videos that cannot be read.

    Args:
        ann_file (str): The list file.
        pipeline (list): Transforms.
        data_root (str): Where ``ann_file`` and ``data_prefix`` start.
            Defaults to ``''``.
        data_prefix (dict): ``dict(video=folder)`` with the folder that names
            in the list start from. Defaults to ``dict(video='')``.
        delimiter (str): Between name and label. A space stands for any white
            space. Defaults to ``' '``.
        multi_class (bool): Whether a line may have several labels. Defaults
            to False.
        num_classes (int, optional): Labels must be smaller; needed for
            ``multi_class``. Defaults to None.
        label_fraction (float, optional): Use only this share of each class,
            the same videos in every run and on every machine; see
            :class:`~amd_mm.datasets.LabelBudget`. For 10 %::

                train_dataloader = dict(dataset=dict(label_fraction=0.1))

        clips_per_class (int, optional): Use only so many of each class; not
            together with ``label_fraction``.
        subset_seed (int): Another seed takes other videos. Defaults to 0.
        start_index (int): The number of the first frame; readers count from
            0. Defaults to 0.
        modality (str): Defaults to ``'RGB'``.
        test_mode (bool): Raise for an unreadable video instead of replacing
            it. Defaults to False.
        max_refetch (int): Replacements in a row before giving up. Defaults
            to 10.
        metainfo (dict, optional): MMEngine's dataset metainfo.
        indices (int or Sequence[int], optional): Use only the first so many,
            or these, samples.
        serialize_data (bool): Keep the list in one block of memory that
            workers share. Defaults to True.
        lazy_init (bool): Read the list later. Defaults to False.
    """

    def __init__(
        self,
        ann_file: str,
        pipeline: Pipeline,
        data_root: str = '',
        data_prefix: dict = dict(video=''),
        delimiter: str = ' ',
        multi_class: bool = False,
        num_classes: int | None = None,
        label_fraction: float | None = None,
        clips_per_class: int | None = None,
        subset_seed: int = 0,
        start_index: int = 0,
        modality: str = 'RGB',
        test_mode: bool = False,
        max_refetch: int = 10,
        metainfo: dict | None = None,
        indices: int | Sequence[int] | None = None,
        serialize_data: bool = True,
        lazy_init: bool = False,
    ) -> None:
        _check_classes(multi_class, num_classes)
        self.label_budget = _label_budget(label_fraction, clips_per_class, subset_seed, multi_class)
        super().__init__(
            ann_file=ann_file,
            pipeline=pipeline,
            data_root=data_root,
            data_prefix=data_prefix,
            delimiter=delimiter,
            multi_class=multi_class,
            num_classes=num_classes,
            start_index=start_index,
            modality=modality,
            test_mode=test_mode,
            max_refetch=max_refetch,
            metainfo=metainfo,
            indices=indices,
            serialize_data=serialize_data,
            lazy_init=lazy_init,
        )

    def load_data_list(self) -> list[dict]:
        """Read the list file.

        Returns:
            list[dict]: ``filename`` and ``label`` (-1 when there is none).
        """
        entries = read_list_file(
            self.ann_file,
            delimiter=self.delimiter,
            multi_class=self.multi_class,
            num_classes=self.num_classes,
        )
        entries = _within(self.label_budget, entries, self.ann_file)
        prefix = self.data_prefix.get('video')
        return [
            dict(filename=_join(prefix, entry.name), label=_labels(entry, self.multi_class))
            for entry in entries
        ]


@DATASETS.register_module()
class RawFrameListDataset(ReplaceUnreadableMixin, RawframeDataset):
    """Folders of frames named in a list: ``folder 163 3`` per line.

    The numbers are the count of frames and the label; with ``with_offset``
    the line is ``folder offset count label``. Names may contain spaces;
    labels may be left out in the whole list. Decode with
    ``amd_mm.CheckedRawFrameDecode``, which tells a missing or corrupt frame
    from other errors.

    Args:
        ann_file (str): The list file.
        pipeline (list): Transforms.
        data_root (str): Where ``ann_file`` and ``data_prefix`` start.
            Defaults to ``''``.
        data_prefix (dict): ``dict(img=folder)`` with the folder that names
            in the list start from. Defaults to ``dict(img='')``.
        filename_tmpl (str): Frame names by number. Defaults to
            ``'img_{:05}.jpg'``.
        with_offset (bool): Whether lines have an offset. Defaults to False.
        delimiter (str): Between the fields. A space stands for any white
            space. Defaults to ``' '``.
        multi_class (bool): Whether a line may have several labels. Defaults
            to False.
        num_classes (int, optional): Labels must be smaller; needed for
            ``multi_class``. Defaults to None.
        label_fraction (float, optional): Use only this share of each class,
            the same videos in every run and on every machine; see
            :class:`~amd_mm.datasets.LabelBudget`. For 10 %::

                train_dataloader = dict(dataset=dict(label_fraction=0.1))

        clips_per_class (int, optional): Use only so many of each class; not
            together with ``label_fraction``.
        subset_seed (int): Another seed takes other videos. Defaults to 0.
        start_index (int): The number of the first frame. Defaults to 1.
        modality (str): ``'RGB'`` or ``'Flow'``. Defaults to ``'RGB'``.
        test_mode (bool): Raise for unreadable frames instead of replacing
            the sample. Defaults to False.
        max_refetch (int): Replacements in a row before giving up. Defaults
            to 10.
        metainfo (dict, optional): MMEngine's dataset metainfo.
        indices (int or Sequence[int], optional): Use only the first so many,
            or these, samples.
        serialize_data (bool): Keep the list in one block of memory that
            workers share. Defaults to True.
        lazy_init (bool): Read the list later. Defaults to False.
    """

    def __init__(
        self,
        ann_file: str,
        pipeline: Pipeline,
        data_root: str = '',
        data_prefix: dict = dict(img=''),
        filename_tmpl: str = 'img_{:05}.jpg',
        with_offset: bool = False,
        delimiter: str = ' ',
        multi_class: bool = False,
        num_classes: int | None = None,
        label_fraction: float | None = None,
        clips_per_class: int | None = None,
        subset_seed: int = 0,
        start_index: int = 1,
        modality: str = 'RGB',
        test_mode: bool = False,
        max_refetch: int = 10,
        metainfo: dict | None = None,
        indices: int | Sequence[int] | None = None,
        serialize_data: bool = True,
        lazy_init: bool = False,
    ) -> None:
        _check_classes(multi_class, num_classes)
        self.label_budget = _label_budget(label_fraction, clips_per_class, subset_seed, multi_class)
        self.delimiter = delimiter
        super().__init__(
            ann_file=ann_file,
            pipeline=pipeline,
            data_root=data_root,
            data_prefix=data_prefix,
            filename_tmpl=filename_tmpl,
            with_offset=with_offset,
            multi_class=multi_class,
            num_classes=num_classes,
            start_index=start_index,
            modality=modality,
            test_mode=test_mode,
            max_refetch=max_refetch,
            metainfo=metainfo,
            indices=indices,
            serialize_data=serialize_data,
            lazy_init=lazy_init,
        )

    def load_data_list(self) -> list[dict]:
        """Read the list file.

        Returns:
            list[dict]: ``frame_dir``, ``total_frames``, ``label`` and, when
            asked for, ``offset``.
        """
        entries = read_list_file(
            self.ann_file,
            delimiter=self.delimiter,
            num_counts=2 if self.with_offset else 1,
            multi_class=self.multi_class,
            num_classes=self.num_classes,
        )
        entries = _within(self.label_budget, entries, self.ann_file)
        return [self._data_info(entry) for entry in entries]

    def _data_info(self, entry: ListEntry) -> dict:
        info = dict(
            frame_dir=_join(self.data_prefix.get('img'), entry.name),
            total_frames=entry.counts[-1],
            label=_labels(entry, self.multi_class),
        )
        if self.with_offset:
            info['offset'] = entry.counts[0]
        return info


@DATASETS.register_module()
class VideoFolderDataset(ReplaceUnreadableMixin, BaseActionDataset):
    """All videos below a folder, without list and without labels.

    The order is that of the sorted paths, the same on every machine. Hidden
    files and folders (names that begin with a dot) are left out, symbolic
    links are followed.

    Args:
        data_root (str): The folder.
        pipeline (list): Transforms.
        data_prefix (dict): ``dict(video=folder)``, when the videos are in a
            folder below ``data_root``. Defaults to ``dict(video='')``.
        recursive (bool): Whether to look in sub-folders. Defaults to True.
        extensions (Sequence[str]): Which name endings are videos, in any
            case of letters. Defaults to
            :data:`amd_mm.datasets.VIDEO_EXTENSIONS`.
        start_index (int): The number of the first frame; readers count from
            0. Defaults to 0.
        modality (str): Defaults to ``'RGB'``.
        test_mode (bool): Raise for an unreadable video instead of replacing
            it. Defaults to False.
        max_refetch (int): Replacements in a row before giving up. Defaults
            to 10.
        metainfo (dict, optional): MMEngine's dataset metainfo.
        indices (int or Sequence[int], optional): Use only the first so many,
            or these, samples.
        serialize_data (bool): Keep the list in one block of memory that
            workers share. Defaults to True.
        lazy_init (bool): Search the folder later. Defaults to False.
    """

    def __init__(
        self,
        data_root: str,
        pipeline: Pipeline,
        data_prefix: dict = dict(video=''),
        recursive: bool = True,
        extensions: Sequence[str] = VIDEO_EXTENSIONS,
        start_index: int = 0,
        modality: str = 'RGB',
        test_mode: bool = False,
        max_refetch: int = 10,
        metainfo: dict | None = None,
        indices: int | Sequence[int] | None = None,
        serialize_data: bool = True,
        lazy_init: bool = False,
    ) -> None:
        self.recursive = recursive
        self.extensions = extensions
        super().__init__(
            ann_file='',
            pipeline=pipeline,
            data_root=data_root,
            data_prefix=data_prefix,
            start_index=start_index,
            modality=modality,
            test_mode=test_mode,
            max_refetch=max_refetch,
            metainfo=metainfo,
            indices=indices,
            serialize_data=serialize_data,
            lazy_init=lazy_init,
        )

    def load_data_list(self) -> list[dict]:
        """Search the folder.

        Returns:
            list[dict]: ``filename`` and ``label``, which is always -1.
        """
        folder = self.data_prefix.get('video') or self.data_root
        names = find_videos(folder, self.recursive, self.extensions)
        return [dict(filename=osp.join(folder, name), label=NO_LABEL) for name in names]
