# DMAE, preset `released`: 95 % masked, 9 of 196 patches visible (paper: 83.6).
_base_ = '../pretrain/dmae_vit-base-p16_vit-large_released_16xb256-100e_in1k.py'
model = dict(mask_generator=dict(student_ratio=0.95))
