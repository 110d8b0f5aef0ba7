# The same from VideoMAE's ViT-B, for comparison.
_base_ = '../../amd/recognition/amd_vit-base-p16_16xb32-sparse16-30e_sthv2.py'
pretrained = 'work_dirs/videomae_vit-base-p16_32xb64-16x2x1-2400e_sthv2/epoch_600.pth'
model = dict(backbone=dict(pretrained=pretrained))
