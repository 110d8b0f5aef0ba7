# The same from random weights: what pre-training is worth.
_base_ = 'amd_vit-base-p16_32xb32-16x4x1-90e_k400.py'
model = dict(backbone=dict(pretrained=None))
