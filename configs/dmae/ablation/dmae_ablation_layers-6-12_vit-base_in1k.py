# DMAE, preset `released`: blocks 6 <- 12 and 12 <- 24 (paper: 84.2). DMAE sums
# over the layers, AMD averages: the weight is the number of layers.
_base_ = '../pretrain/dmae_vit-base-p16_vit-large_released_16xb256-100e_in1k.py'
model = dict(layer_pairs=[(6, 12), (12, 24)], direct_weight=2.0)
