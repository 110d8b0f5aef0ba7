# The teacher sees the whole clip (paper: teacher masking ratio 0).
_base_ = '../pretrain/amd_vit-base-p16_vit-large_32xb64-16x2x1-800e_sthv2.py'
model = dict(mask_generator=dict(teacher_ratio=0.0))
