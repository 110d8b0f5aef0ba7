# The same from VideoMAE's ViT-S, for comparison.
_base_ = '../../amd/recognition/amd_vit-small-p16_16xb32-16x4x1-150e_k400.py'
pretrained = 'work_dirs/videomae_vit-small-p16_32xb64-16x4x1-800e_k400/epoch_200.pth'
model = dict(backbone=dict(pretrained=pretrained))
