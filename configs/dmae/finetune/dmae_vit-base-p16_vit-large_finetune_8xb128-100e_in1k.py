# DMAE, fine-tuning: ViT-B (from ViT-L) on ImageNet-1K, 100 epochs.
#
# The recipe is DMAE's: layer-wise decay 0.75, drop path 0.15, warm-up 20.
# 8 GPUs x 128 images = 1024 a step at lr 2e-3; else --auto-scale-lr.
_base_ = [
    '../../_base_/models/image_finetune_vit-base.py',
    '../../_base_/datasets/imagenet_finetune.py',
    '../../_base_/schedules/image_finetune_100e.py',
    '../../_base_/runtime/image_finetune.py',
]
# The end of pre-training, preset `released`.
start = 'work_dirs/dmae_vit-base-p16_vit-large_released_16xb256-100e_in1k/epoch_100.pth'
warmup_epochs = 20
model = dict(backbone=dict(drop_path_rate=0.15, pretrained=start))
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.75))
param_scheduler = _base_.param_scheduler
param_scheduler[0].end = warmup_epochs
param_scheduler[1].begin = warmup_epochs
