# DMAE, fine-tuning: ViT-T (from ViT-B) on ImageNet-1K, 100 epochs.
#
# DMAE's recipe for S and T is not public: this is MAE's for its ViT-B.
# 8 GPUs x 128 images = 1024 a step at lr 2e-3; else --auto-scale-lr.
_base_ = [
    '../../_base_/models/image_finetune_vit-tiny.py',
    '../../_base_/datasets/imagenet_finetune.py',
    '../../_base_/schedules/image_finetune_100e.py',
    '../../_base_/runtime/image_finetune.py',
]
# The end of pre-training, preset `released`.
start = 'work_dirs/dmae_vit-tiny-p16_vit-base_released_16xb256-100e_in1k/epoch_100.pth'
model = dict(backbone=dict(pretrained=start))
