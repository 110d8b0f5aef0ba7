"""A config of this package, small enough to be trained in a test."""

from pathlib import Path

from mmengine.config import Config

from .people import FPS

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
DETECTION = CONFIGS / 'amd' / 'detection'
SMALL = DETECTION / 'amd_vit-small-p16_8xb16-16x4x1-30e_ava22.py'
CLASSES = 4  # three actions and the background


def tiny_config(train: dict[str, str], val: dict[str, str], work_dir: Path) -> Config:
    """The config of ViT-S on videos with a tiny ViT, for the people.

    Args:
        train (Dict[str, str]): From ``make_people``.
        val (Dict[str, str]): The same.
        work_dir (Path): Of the run.

    Returns:
        Config: Clips of 8 frames, 48 x 64 pixels; 4 x 6 x 8 tokens.
    """
    cfg = Config.fromfile(SMALL)
    cfg.work_dir = str(work_dir)
    cfg.model = tiny_model(cfg.model)
    for key, paths in (('train', train), ('val', val), ('test', val)):
        loader = cfg[f'{key}_dataloader']
        loader.update(num_workers=0, persistent_workers=False, pin_memory=False)
        place(loader.dataset, paths)
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        evaluator.update(
            num_classes=CLASSES,
            ann_file=val['ann_file'],
            exclude_file=val['exclude_file'],
            label_file=val['label_file'],
        )
    # bfloat16 is slow on a CPU.
    cfg.optim_wrapper.precision = 'fp32'
    return cfg


def tiny_model(model: dict) -> dict:
    """Shrink the model of a config in place."""
    model.backbone.update(
        pretrained=None,
        img_size=48,
        patch_size=8,
        num_frames=8,
        embed_dims=48,
        depth=3,
        num_heads=3,
        drop_path_rate=0.0,
    )
    model.data_preprocessor.size_divisor = 8
    model.roi_head.bbox_roi_extractor.update(featmap_stride=8, output_size=4)
    model.roi_head.bbox_head.update(in_channels=48, num_classes=CLASSES, topk=(1,))
    return model


def place(dataset: dict, paths: dict[str, str]) -> None:
    """Point a data set's config to the people, on videos."""
    dataset.update(
        ann_file=paths['ann_file'],
        exclude_file=paths['exclude_file'],
        label_file=paths['label_file'],
        data_prefix=dict(video=paths['videos']),
        num_classes=CLASSES,
        fps=FPS,
    )
    if 'proposal_file' in dataset:
        dataset.proposal_file = paths['proposal_file']
    for transform in dataset.pipeline:
        if 'clip_len' in transform:
            transform.update(clip_len=8, frame_interval=1)
        if 'scale' in transform:
            transform.scale = (-1, 48)
