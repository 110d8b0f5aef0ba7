# DMAE's ViT-B (from ViT-L), fine-tuned on ImageNet-1K.
#
# DMAE's recipe: layer decay 0.75, drop path 0.15, warm-up 20.
# 8 GPUs x 128 images = 1024 images per step at lr 2e-3.
_base_ = [
    '../../_base_/models/image_finetune_vit-base.py',
    '../../_base_/datasets/imagenet_finetune.py',
    '../../_base_/schedules/image_finetune_100e.py',
    '../../_base_/runtime/image_finetune.py',
]
_pretrained = 'work_dirs/dmae_vit-base-p16_vit-large_released_16xb256-100e_in1k/epoch_100.pth'
model = dict(backbone=dict(drop_path_rate=0.15, pretrained=_pretrained))
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.75))
param_scheduler = _base_.param_scheduler
param_scheduler[0].end = param_scheduler[1].begin = 20
