# DMAE, preset `released`, with an MLP for the linear projection.
_base_ = '../pretrain/dmae_vit-base-p16_vit-large_released_16xb256-100e_in1k.py'
model = dict(neck=dict(hidden=True))
