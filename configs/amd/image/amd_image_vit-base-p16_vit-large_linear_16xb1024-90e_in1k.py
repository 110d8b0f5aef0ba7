# Linear probe of AMD's ViT-B on ImageNet-1K, MAE's recipe: crops and flips only.
#
# 16 GPUs x 1024 images = 16384 images per step at lr 6.4.
_base_ = [
    '../../_base_/models/image_linear_vit-base.py',
    '../../_base_/datasets/imagenet_finetune.py',
    '../../_base_/schedules/image_linear_90e.py',
    '../../_base_/runtime/image_finetune.py',
]
_pretrained = 'work_dirs/amd_image_vit-base-p16_vit-large_16xb256-800e_in1k/epoch_800.pth'
model = dict(backbone=dict(pretrained=_pretrained))
_pipeline = _base_.train_dataloader.dataset.pipeline
train_dataloader = dict(batch_size=1024, dataset=dict(pipeline=[*_pipeline[:3], _pipeline[-1]]))
