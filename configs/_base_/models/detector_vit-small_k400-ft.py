# Fine-tuned on Kinetics-400: its fc_norm becomes the norm of the feature map.
_base_ = 'detector_vit-small.py'
# Made by this config of configs/amd/recognition, or any ViT-S recogniser's.
pretrained = 'work_dirs/amd_vit-small-p16_16xb32-16x4x1-150e_k400/epoch_150.pth'
model = dict(backbone=dict(pretrained=pretrained))
