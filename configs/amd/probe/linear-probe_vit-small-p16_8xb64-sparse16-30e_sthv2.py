# Linear probe of AMD's ViT-S on Something-Something V2.
_base_ = 'linear-probe_vit-base-p16_8xb64-sparse16-30e_sthv2.py'
_pretrained = 'work_dirs/amd_vit-small-p16_vit-large_32xb16v4-16x2x1-200e_sthv2/epoch_200.pth'
model = dict(
    backbone=dict(embed_dims=384, num_heads=6, pretrained=_pretrained),
    cls_head=dict(in_channels=384),
)
