# TinyMIM's ViT-B (from ViT-L), fine-tuned on ImageNet-1K.
#
# TinyMIM's recipe: layer decay 0.65, drop path 0.2, warm-up 5.
# 8 GPUs x 128 images = 1024 images per step at lr 2e-3.
_base_ = [
    '../../_base_/models/image_finetune_vit-base.py',
    '../../_base_/datasets/imagenet_finetune.py',
    '../../_base_/schedules/image_finetune_100e.py',
    '../../_base_/runtime/image_finetune.py',
]
_pretrained = 'work_dirs/tinymim_vit-base-p16_vit-large_16xb256-300e_in1k/epoch_300.pth'
model = dict(backbone=dict(drop_path_rate=0.2, pretrained=_pretrained))
