"""TinyMIM's real configs, small, with pictures to train on."""

from pathlib import Path

from mmengine.config import Config

from tests.test_configs.shrink_image import make_images, shrink_image

CONFIGS = Path(__file__).resolve().parents[2] / 'configs' / 'tinymim'
SMALL = 'tinymim_vit-small-p16_vit-base'
TINY = 'tinymim_vit-tiny-p16_vit-small'
PRETRAIN, FINETUNE = '_16xb256-300e_in1k', '_finetune_8xb128-100e_in1k'


def pretraining(folder: Path, name: str = SMALL, epochs: int = 1) -> Config:
    """A pre-training config; six images, three steps an epoch.

    Args:
        folder (Path): The data is made below it, and the runs are.
        name (str): Which student and teacher.
        epochs (int): How long, two thirds of it cosine.
    """
    cfg = Config.fromfile(CONFIGS / 'pretrain' / f'{name}{PRETRAIN}.py')
    return _short(cfg, folder, epochs)


def finetuning(folder: Path, name: str = SMALL, epochs: int = 1) -> Config:
    """The fine-tuning config of a student; arguments as above."""
    cfg = Config.fromfile(CONFIGS / 'finetune' / f'{name}{FINETUNE}.py')
    return _short(cfg, folder, epochs)


def _short(cfg: Config, folder: Path, epochs: int) -> Config:
    if not (folder / 'data').exists():
        make_images(folder)
    shrink_image(cfg, folder)
    cfg.train_dataloader.batch_size = 2
    # Four blocks are enough here, and take a third of the time.
    for part in (cfg.model, cfg.model.get('teacher')):
        if part:
            part.backbone.arch.num_layers = 4
            part.backbone.pop('layer_cfgs', None)
    if 'teacher' in cfg.model:
        cfg.model.teacher.block = 4
        cfg.model.backbone.drop_path_rate = 0.1
    warm_up, cosine = cfg.param_scheduler
    warm_up.end = cosine.begin = 1
    cosine.end = max(epochs, 2)
    cfg.train_cfg.max_epochs = epochs
    cfg.default_hooks.checkpoint.interval = 1
    cfg.default_hooks.logger.interval = 1
    cfg.env_cfg.cudnn_benchmark = False
    cfg.env_cfg.dist_cfg.backend = 'gloo'
    cfg.work_dir = str(folder / 'work')
    return cfg
