# Without reconstruction (paper: 73.0 on SSV2): no decoder is built.
_base_ = '../pretrain/amd_vit-base-p16_vit-large_32xb64-16x2x1-800e_sthv2.py'
model = dict(rec_weight=0.0, decoder=None, head=None)
