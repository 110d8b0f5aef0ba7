# Student masking ratio 0.80 (paper: 73.1 on SSV2).
_base_ = '../pretrain/amd_vit-base-p16_vit-large_32xb64-16x2x1-800e_sthv2.py'
model = dict(mask_generator=dict(student_ratio=0.8))
