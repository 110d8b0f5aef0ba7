# The same from VideoMAE's ViT-B, for comparison.
_base_ = '../../amd/recognition/amd_vit-base-p16_8xb32-16x4x1-100e_ucf101.py'
pretrained = 'work_dirs/videomae_vit-base-p16_32xb64-16x4x1-1600e_k400/epoch_400.pth'
model = dict(backbone=dict(pretrained=pretrained))
