# AMD: ViT-S from ViT-L on ImageNet-1K.
_base_ = 'amd_image_vit-base-p16_vit-large_16xb256-800e_in1k.py'
model = dict(backbone=dict(arch='deit-small'))
