# DMAE's ViT-S (from ViT-L), fine-tuned on ImageNet-1K.
#
# DMAE's recipe for S and T is not public: this is MAE's for its ViT-B.
# 8 GPUs x 128 images = 1024 images per step at lr 2e-3.
_base_ = [
    '../../_base_/models/image_finetune_vit-base.py',
    '../../_base_/datasets/imagenet_finetune.py',
    '../../_base_/schedules/image_finetune_100e.py',
    '../../_base_/runtime/image_finetune.py',
]
_pretrained = 'work_dirs/dmae_vit-small-p16_vit-large_released_16xb256-100e_in1k/epoch_100.pth'
model = dict(backbone=dict(arch='deit-small', pretrained=_pretrained), head=dict(in_channels=384))
