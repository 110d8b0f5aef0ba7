# Not AMD: half of the unseen tokens are reconstructed and half of the extra
# ones generated, chosen by running cells. A shorter step; what it does to the
# accuracy was not measured.
_base_ = '../pretrain/amd_vit-base-p16_vit-large_32xb64-16x2x1-800e_sthv2.py'
model = dict(mask_generator=dict(decoder_ratio=0.5, generator_ratio=0.5))
