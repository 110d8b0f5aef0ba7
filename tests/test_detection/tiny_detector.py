"""A detection config of this package, small enough to be trained in a test."""

from pathlib import Path

from mmengine.config import Config

from .people import FPS

DETECTION = Path(__file__).resolve().parents[2] / 'configs' / 'amd' / 'detection'
SMALL = DETECTION / 'amd_vit-small-p16_8xb16-16x4x1-30e_ava22.py'
CLASSES = 4  # three actions and the background


def tiny_config(train: dict[str, str], val: dict[str, str], work_dir: Path) -> Config:
    """The config of ViT-S with a tiny ViT: clips of 8 frames, 48 x 64; 4 x 3 x 4 tokens.

    Args:
        train: from ``make_people``.
        val: the same.
        work_dir: of the run.
    """
    cfg = Config.fromfile(SMALL)
    cfg.work_dir = str(work_dir)
    tiny_model(cfg.model)
    for key, paths in (('train', train), ('val', val), ('test', val)):
        loader = cfg[f'{key}_dataloader']
        loader.update(num_workers=0, persistent_workers=False, pin_memory=False)
        files = ('ann_file', 'exclude_file', 'label_file', 'proposal_file')
        files = {name: paths[name] for name in files if name in loader.dataset}
        media = dict(video=paths['videos'])
        loader.dataset.update(files, data_prefix=media, num_classes=CLASSES, fps=FPS)
        for transform in loader.dataset.pipeline:
            if 'clip_len' in transform:
                transform.update(clip_len=8, frame_interval=1)
            if 'scale' in transform:
                transform.scale = (-1, 48)
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        files = {name: val[name] for name in ('ann_file', 'exclude_file', 'label_file')}
        evaluator.update(files, num_classes=CLASSES)
    cfg.optim_wrapper.precision = 'fp32'  # bfloat16 is slow on a CPU
    return cfg


def tiny_model(model: dict) -> dict:
    """Shrink the model of a config in place."""
    model.backbone.update(
        pretrained=None,
        img_size=48,
        num_frames=8,
        embed_dims=48,
        depth=2,
        num_heads=3,
        drop_path_rate=0.0,
    )
    model.roi_head.bbox_roi_extractor.output_size = 4
    model.roi_head.bbox_head.update(in_channels=48, num_classes=CLASSES, topk=(1,))
    return model
