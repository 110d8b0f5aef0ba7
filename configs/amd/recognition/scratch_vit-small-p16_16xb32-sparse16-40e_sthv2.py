# The same from random weights: what pre-training is worth.
_base_ = 'amd_vit-small-p16_16xb32-sparse16-40e_sthv2.py'
model = dict(backbone=dict(pretrained=None))
