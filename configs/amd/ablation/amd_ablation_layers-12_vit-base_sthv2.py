# Alignment at the last block alone.
_base_ = '../pretrain/amd_vit-base-p16_vit-large_32xb64-16x2x1-800e_sthv2.py'
model = dict(layer_pairs=[(12, 24)])
