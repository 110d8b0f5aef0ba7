# Fine-tuned on Kinetics-400: its fc_norm becomes the norm of the feature map.
_base_ = 'detector_vit-base.py'
# Made by this config of configs/amd/recognition, or any ViT-B recogniser's.
pretrained = 'work_dirs/amd_vit-base-p16_32xb32-16x4x1-90e_k400/epoch_90.pth'
model = dict(backbone=dict(pretrained=pretrained))
