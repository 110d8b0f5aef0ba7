# DMAE, preset `released`: 98 % masked, 3 of 196 patches visible (paper: 82.4).
_base_ = '../pretrain/dmae_vit-base-p16_vit-large_released_16xb256-100e_in1k.py'
model = dict(mask_generator=dict(student_ratio=0.98))
