# DMAE: ViT-S from ViT-B on ImageNet-1K, preset `released`.
_base_ = 'dmae_vit-base-p16_vit-large_released_16xb256-100e_in1k.py'
model = dict(
    backbone=dict(arch='deit-small'),
    teacher=dict(backbone=dict(arch='base'), checkpoint='checkpoints/mae_visualize_vit_base.pth'),
    layer_pairs=[(9, 9)],
)
