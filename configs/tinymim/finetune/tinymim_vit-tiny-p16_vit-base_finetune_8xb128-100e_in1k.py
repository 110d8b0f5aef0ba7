# TinyMIM's ViT-T that learnt from ViT-B, fine-tuned on ImageNet-1K.
#
# No recipe for ViT-T is public: this is MAE's for ViT-B (layer decay 0.65,
# drop path 0.1, warm-up 5).
#
# 8 GPUs x 128 images = 1024 a step at lr 2e-3; for another batch,
# --auto-scale-lr.
_base_ = [
    '../../_base_/models/image_finetune_vit-tiny.py',
    '../../_base_/datasets/imagenet_finetune.py',
    '../../_base_/schedules/image_finetune_100e.py',
    '../../_base_/runtime/image_finetune.py',
]
pretrained = 'work_dirs/tinymim_vit-tiny-p16_vit-base_16xb256-300e_in1k/epoch_300.pth'
model = dict(backbone=dict(pretrained=pretrained))
