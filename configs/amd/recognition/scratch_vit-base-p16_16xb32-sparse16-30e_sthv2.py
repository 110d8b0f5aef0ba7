# The same from random weights: what pre-training is worth.
_base_ = 'amd_vit-base-p16_16xb32-sparse16-30e_sthv2.py'
model = dict(backbone=dict(pretrained=None))
