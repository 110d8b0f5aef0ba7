# DMAE, preset `released`, with twice the weight of the alignment (alpha 2).
_base_ = '../pretrain/dmae_vit-base-p16_vit-large_released_16xb256-100e_in1k.py'
model = dict(direct_weight=2.0)
