# The same from random weights: what pre-training is worth.
_base_ = 'amd_vit-small-p16_16xb32-16x4x1-150e_k400.py'
model = dict(backbone=dict(pretrained=None))
