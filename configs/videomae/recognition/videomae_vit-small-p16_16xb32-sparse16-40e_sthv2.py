# The same from VideoMAE's ViT-S, for comparison.
_base_ = '../../amd/recognition/amd_vit-small-p16_16xb32-sparse16-40e_sthv2.py'
pretrained = 'work_dirs/videomae_vit-small-p16_32xb64-16x2x1-800e_sthv2/epoch_200.pth'
model = dict(backbone=dict(pretrained=pretrained))
