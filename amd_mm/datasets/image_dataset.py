"""Images in class folders, in a list, or below a bare folder."""

from collections.abc import Callable, Sequence
from typing import Any

from amd_mm.registry import DATASETS
from mmengine.logging import print_log
from mmpretrain.datasets import CustomDataset

from .subset import class_balanced_subset, describe_subset
from .video_dataset import ReplaceUnreadableMixin

IMAGE_EXTENSIONS = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif', '.tiff', '.webp')
"""File name endings (lower case) of images."""


@DATASETS.register_module()
class ImageDataset(ReplaceUnreadableMixin, CustomDataset):
    """MMPretrain's ``CustomDataset`` with replacement and class-balanced subsets.

    Images that cannot be read are replaced and reported (:class:`ReplaceUnreadableMixin`); load
    them with ``amd_mm.LoadImage``. Without ``ann_file`` the images are looked for below the
    folder: each sub-folder is a class, or all images are taken with ``with_label=False``.

    Args:
        label_fraction: use only this share of each class, the same images in every run and on
            every machine; see :func:`~amd_mm.datasets.class_balanced_subset`.
        samples_per_class: maximum images per class; not together with ``label_fraction``.
        subset_seed: another seed chooses other images.
        **host: further arguments of MMPretrain's dataset, which rejects unknown names.

    Raises:
        ValueError: a subset is asked for without labels, or both options are given.
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

    def load_data_list(self) -> list[dict]:
        """``img_path`` and, with labels, ``gt_label``."""
        images = super().load_data_list()
        if self.subset is None:
            return images
        labels = [image['gt_label'] for image in images]
        # Relative to the folder: the same on every machine.
        names = [image['img_path'][len(self.img_prefix) :].lstrip('/') for image in images]
        chosen = class_balanced_subset(labels, names, *self.subset)
        source = self.ann_file or self.img_prefix
        print_log(f'{source}: {describe_subset(labels, chosen, self.subset[1])}', 'current')
        return [images[index] for index in chosen]
