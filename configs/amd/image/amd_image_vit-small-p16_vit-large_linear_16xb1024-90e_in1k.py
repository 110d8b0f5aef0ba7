# Linear probe of AMD's ViT-S on ImageNet-1K.
_base_ = 'amd_image_vit-base-p16_vit-large_linear_16xb1024-90e_in1k.py'
_pretrained = 'work_dirs/amd_image_vit-small-p16_vit-large_16xb256-800e_in1k/epoch_800.pth'
model = dict(
    backbone=dict(arch='deit-small', pretrained=_pretrained),
    neck=dict(input_features=384),
    head=dict(in_channels=384),
)
