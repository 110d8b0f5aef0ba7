# DMAE, preset `released`: block 3 <- 6 (paper: 82.6).
_base_ = '../pretrain/dmae_vit-base-p16_vit-large_released_16xb256-100e_in1k.py'
model = dict(layer_pairs=[(3, 6)])
