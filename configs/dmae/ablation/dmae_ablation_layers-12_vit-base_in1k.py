# DMAE, preset `released`: block 12 <- 24 (paper: 83.4).
_base_ = '../pretrain/dmae_vit-base-p16_vit-large_released_16xb256-100e_in1k.py'
model = dict(layer_pairs=[(12, 24)])
