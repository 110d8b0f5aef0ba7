# DMAE, preset `released`: 90 % masked, 19 of 196 patches seen (paper: 84.0).
_base_ = '../pretrain/dmae_vit-base-p16_vit-large_released_16xb256-100e_in1k.py'
model = dict(mask_generator=dict(student_ratio=0.90))
