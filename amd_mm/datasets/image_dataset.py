"""Images in class folders, in a list file, or in a folder without labels."""

import logging
import os.path as osp
from collections.abc import Callable, Sequence
from typing import Any

from amd_mm.registry import DATASETS
from mmengine.logging import print_log
from mmpretrain.datasets import CustomDataset

from ..errors import VideoError
from .files import IMAGE_EXTENSIONS, class_folders, find_files
from .list_files import find_named, read_list_file
from .replace_unreadable import ReplaceUnreadableMixin
from .subset import class_balanced_subset, describe_subset


@DATASETS.register_module()
class ImageDataset(ReplaceUnreadableMixin, CustomDataset):
    """MMPretrain's ``CustomDataset`` with replacement and class-balanced subsets.

    Images that cannot be read are replaced and reported (:class:`ReplaceUnreadableMixin`), if the
    pipeline loads them with ``amd_mm.LoadImage``. Without ``ann_file``, each sub-folder that is
    not hidden is a class; with ``with_label=False``, all images in the folder and its sub-folders
    are used. ``classes`` names all classes, also those without a folder.

    Args:
        label_fraction: use only this share of each class, the same images in every run and on
            every machine; see :func:`~amd_mm.datasets.class_balanced_subset`.
        samples_per_class: maximum images per class, instead of ``label_fraction``.
        subset_seed: another seed chooses other images.
        **host: other arguments of MMPretrain's dataset, which rejects unknown names.

    Raises:
        VideoError: the list is wrong, or the folder has no images.
        ValueError: a subset needs labels, or both subset options are given.
    """

    def __init__(
        self,
        pipeline: list[dict | Callable],
        with_label: bool = True,
        label_fraction: float | None = None,
        samples_per_class: int | None = None,
        subset_seed: int = 0,
        extensions: Sequence[str] = IMAGE_EXTENSIONS,
        **host: Any,
    ) -> None:
        self.subset = None
        if label_fraction is not None or samples_per_class is not None:
            if not with_label:
                raise ValueError('label_fraction and samples_per_class need with_label=True')
            self.subset = (label_fraction, samples_per_class, subset_seed)
        super().__init__(pipeline=pipeline, with_label=with_label, extensions=extensions, **host)

    def _read_list(self) -> list[tuple[str, dict]]:
        """Name and label of the images in the list."""
        classes = self.CLASSES or ()
        entries = read_list_file(self.ann_file, num_classes=len(classes) or None, classes=classes)
        if not self.with_label:
            return [(entry.name, {}) for entry in entries]
        if not entries[0].labels:
            raise VideoError(f'{self.ann_file} has no labels; set with_label=False to use none')
        return [(entry.name, dict(gt_label=entry.labels[0])) for entry in entries]

    def _find_images(self) -> list[tuple[str, dict]]:
        """Name and label of the images below the folder."""
        if not self.with_label:
            return [(name, {}) for name in find_files(self.img_prefix, self.extensions)]
        folders = class_folders(self.img_prefix)
        classes = self.CLASSES or tuple(folders)
        # The names of classes need not be those of their folders; then the order counts.
        names = classes if set(folders) <= set(classes) else folders
        if len(names) != len(classes):
            raise VideoError(
                f'{self.img_prefix} has the folders {folders[:5]}, which are not among the '
                f'{len(classes)} classes {list(classes[:5])}'
            )
        self._metainfo['classes'] = classes
        self.folder_to_idx = {name: label for label, name in enumerate(names)}
        found = []
        for name in folders:
            images = find_files(osp.join(self.img_prefix, name), self.extensions)
            label = dict(gt_label=self.folder_to_idx[name])
            found += [(osp.join(name, image), label) for image in images]
            if not images:
                print_log(f'no images in {self.img_prefix}/{name}', 'current', logging.WARNING)
        return found

    def load_data_list(self) -> list[dict]:
        """``img_path`` and, with labels, ``gt_label``."""
        samples = self._read_list() if self.ann_file else self._find_images()
        images = [
            dict(img_path=find_named(self.img_prefix, name), **label) for name, label in samples
        ]
        if not images:
            where = ' in sub-folders, one for each class' * self.with_label
            raise VideoError(f'{self.img_prefix} has no images{where}')
        if self.subset is None:
            return images
        labels = [image['gt_label'] for image in images]
        # Relative to the folder: the same on every machine.
        names = [image['img_path'][len(self.img_prefix) :].lstrip('/') for image in images]
        chosen = class_balanced_subset(labels, names, *self.subset)
        source = self.ann_file or self.img_prefix
        print_log(f'{source}: {describe_subset(labels, chosen, self.subset[1])}', 'current')
        return [images[index] for index in chosen]
