"""Images in class folders, in a list, or below a bare folder."""

from collections.abc import Callable, Sequence

from amd_mm.registry import DATASETS
from mmengine.logging import print_log
from mmpretrain.datasets import CustomDataset

from .replacing import ReplaceUnreadableMixin
from .subset import LabelBudget

IMAGE_EXTENSIONS = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif', '.tiff', '.webp')
"""Name endings (lower case) that are taken for images in a folder."""


@DATASETS.register_module()
class ImageDataset(ReplaceUnreadableMixin, CustomDataset):
    """MMPretrain's ``CustomDataset``, for runs that can be trusted.

    - Images that cannot be read are replaced and reported, see
      :class:`~amd_mm.datasets.ReplaceUnreadableMixin`; load them with
      ``amd_mm.LoadImage``.
    - With ``amd_mm.EpochSeededSampler`` a sample depends on seed, epoch and
      index only, so that a resumed run sees what it would have seen.
    - A part of the labels, balanced over the classes.

    Without ``ann_file``, images are looked for below the folder: with labels,
    each sub-folder is a class, in the order of their names; without, all of
    them are taken.

    Args:
        pipeline (list): Transforms.
        data_root (str): Where ``ann_file`` and ``data_prefix`` start.
        data_prefix (str): Folder of the images.
        ann_file (str): List file: ``name label`` per line, or ``name`` without
            labels.
        with_label (bool): Whether there are labels. False for pre-training.
        label_fraction (float, optional): Use only this share of each class,
            the same images in every run and on every machine; see
            :class:`~amd_mm.datasets.LabelBudget`. For 1 %::

                train_dataloader = dict(dataset=dict(label_fraction=0.01))

        images_per_class (int, optional): Use only so many of each class; not
            together with ``label_fraction``.
        subset_seed (int): Another seed takes other images.
        extensions (Sequence[str]): Which name endings are images.
        test_mode (bool): Raise for an unreadable image instead of replacing
            it.
        max_refetch (int): Replacements in a row before giving up.
        metainfo (dict, optional): MMEngine's dataset metainfo.
        indices (int or Sequence[int], optional): Use only the first so many,
            or these, samples.
        serialize_data (bool): Keep the list in one block of memory that
            workers share.
        lazy_init (bool): Read the list later.

    Raises:
        ValueError: If a part of the labels is asked for and there are none, or
            both ways of saying how many are given.
    """

    def __init__(
        self,
        pipeline: list[dict | Callable],
        data_root: str = '',
        data_prefix: str = '',
        ann_file: str = '',
        with_label: bool = True,
        label_fraction: float | None = None,
        images_per_class: int | None = None,
        subset_seed: int = 0,
        extensions: Sequence[str] = IMAGE_EXTENSIONS,
        test_mode: bool = False,
        max_refetch: int = 10,
        metainfo: dict | None = None,
        indices: int | Sequence[int] | None = None,
        serialize_data: bool = True,
        lazy_init: bool = False,
    ) -> None:
        self.label_budget = None
        if label_fraction is not None or images_per_class is not None:
            if not with_label:
                raise ValueError(
                    'label_fraction and images_per_class take a '
                    'part of each class: set with_label=True'
                )
            self.label_budget = LabelBudget(label_fraction, images_per_class, subset_seed)
        super().__init__(
            pipeline=pipeline,
            data_root=data_root,
            data_prefix=data_prefix,
            ann_file=ann_file,
            with_label=with_label,
            extensions=extensions,
            test_mode=test_mode,
            max_refetch=max_refetch,
            metainfo=metainfo,
            indices=indices,
            serialize_data=serialize_data,
            lazy_init=lazy_init,
        )

    def load_data_list(self) -> list[dict]:
        """Read the list or search the folder.

        Returns:
            list[dict]: ``img_path`` and, with labels, ``gt_label``.
        """
        images = super().load_data_list()
        if self.label_budget is None:
            return images
        labels = [image['gt_label'] for image in images]
        # As below the folder: the same on every machine.
        names = [image['img_path'][len(self.img_prefix) :].lstrip('/') for image in images]
        chosen = self.label_budget.choose(labels, names)
        print_log(
            f'{self.ann_file or self.img_prefix}: {self.label_budget.report(labels, chosen)}',
            'current',
        )
        return [images[index] for index in chosen]
