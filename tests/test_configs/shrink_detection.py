"""The detection configs, small enough for a test; see :mod:`.shrink`.

Their data are the people of ``tests/test_detection/people.py`` in AVA's layouts.
"""

import shutil
from pathlib import Path

from mmengine.config import Config

from ..test_detection.needed import skip_without_mmdet
from ..test_detection.people import FPS, make_people

FRAMES, SIDE = 4, 80
_WIDTHS = {384: 16, 768: 24}
_LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
_FILES = dict(
    ann_file='ava_{}_v2.2.csv',
    exclude_file='ava_{}_excluded_timestamps_v2.2.csv',
    proposal_file='ava_dense_proposals_{}.FAIR.recall_93.9.pkl',
)


def is_detection(cfg: Config) -> bool:
    """Whether a config is for this module."""
    return cfg.model.type == 'mmdet.FastRCNN'


def shrink_detection(cfg: Config, data: Path) -> Config:
    """Make a config small, in place.

    Args:
        cfg: of a detector.
        data: below it, :func:`make_ava` has written.
    """
    skip_without_mmdet()
    for key in _LOADERS:
        loader = cfg[key]
        loader.update(
            batch_size=2 if key == 'train_dataloader' else 1,
            num_workers=0,
            persistent_workers=False,
        )
        loader.dataset.update(data_root=str(data), fps=FPS)
        for transform in loader.dataset.pipeline:
            if 'clip_len' in transform:
                transform.update(clip_len=FRAMES, frame_interval=1)
            if 'scale' in transform:
                transform.scale = (-1, SIDE)
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        for name in ('ann_file', 'exclude_file', 'label_file'):
            evaluator[name] = str(data / evaluator[name])
    backbone = cfg.model.backbone
    width = _WIDTHS[backbone.embed_dims]
    backbone.update(
        embed_dims=width, num_heads=2, img_size=SIDE, num_frames=FRAMES, pretrained=None
    )
    cfg.model.roi_head.bbox_head.in_channels = width
    return cfg


def make_ava(folder: Path) -> Path:
    """Write the people as AVA 2.2 and AVA-Kinetics, ``data/ava`` and ``data/ava_kinetics``."""
    # Names of AVA's videos have eleven characters; MMAction2 recognises them by that.
    made = make_people(folder / 'people', videos=3, names='{:011}')
    for name in ('ava', 'ava_kinetics'):
        root = folder / 'data' / name
        anno = root / 'annotations'
        anno.mkdir(parents=True)
        shutil.copytree(made['videos'], root / 'videos_15min')
        shutil.copytree(made['frames'], root / 'rawframes')
        for kind, pattern in _FILES.items():
            for part in ('train', 'val'):
                shutil.copy(made[kind], anno / pattern.format(part))
        shutil.copy(made['label_file'], anno / 'ava_action_list_v2.2_for_activitynet_2019.pbtxt')
    return folder
