# From pre-training on Kinetics-400: its norm is that of the feature map.
_base_ = 'detector_vit-small.py'
# Made by this config of configs/amd/pretrain, or any checkpoint with a ViT-S.
pretrained = 'work_dirs/amd_vit-small-p16_vit-large_32xb64-16x4x1-800e_k400/epoch_200.pth'
model = dict(backbone=dict(pretrained=pretrained))
