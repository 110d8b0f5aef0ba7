# TinyMIM's ViT-T (from ViT-S), fine-tuned on ImageNet-1K.
#
# No recipe for ViT-T is public: this is MAE's for its ViT-B.
# 8 GPUs x 128 images = 1024 images per step at lr 2e-3.
_base_ = [
    '../../_base_/models/image_finetune_vit-base.py',
    '../../_base_/datasets/imagenet_finetune.py',
    '../../_base_/schedules/image_finetune_100e.py',
    '../../_base_/runtime/image_finetune.py',
]
_pretrained = 'work_dirs/tinymim_vit-tiny-p16_vit-small_16xb256-300e_in1k/epoch_300.pth'
model = dict(backbone=dict(arch='deit-tiny', pretrained=_pretrained), head=dict(in_channels=192))
