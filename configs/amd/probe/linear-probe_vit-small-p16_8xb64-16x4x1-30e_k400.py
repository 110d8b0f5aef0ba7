# Linear probe of AMD's ViT-S on Kinetics-400.
_base_ = 'linear-probe_vit-base-p16_8xb64-16x4x1-30e_k400.py'
_pretrained = 'work_dirs/amd_vit-small-p16_vit-large_32xb16v4-16x4x1-200e_k400/epoch_200.pth'
model = dict(
    backbone=dict(embed_dims=384, num_heads=6, pretrained=_pretrained),
    cls_head=dict(in_channels=384),
)
