# AMD's ViT-Ti, fine-tuned on Kinetics-400, by the recipe of ViT-S but without drop path.
_base_ = 'amd_vit-small-p16_16xb16v2-16x4x1-150e_k400.py'
_pretrained = 'work_dirs/amd_vit-tiny-p16_vit-base_32xb16v4-16x4x1-200e_k400/epoch_200.pth'
model = dict(
    backbone=dict(embed_dims=192, num_heads=3, pretrained=_pretrained, drop_path_rate=0.0),
    cls_head=dict(in_channels=192),
)
