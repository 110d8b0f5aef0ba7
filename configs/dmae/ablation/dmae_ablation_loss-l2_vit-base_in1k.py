# DMAE, preset `released`, with L2 (paper: 83.3).
_base_ = '../pretrain/dmae_vit-base-p16_vit-large_released_16xb256-100e_in1k.py'
model = dict(neck=dict(loss=dict(distance='l2')))
