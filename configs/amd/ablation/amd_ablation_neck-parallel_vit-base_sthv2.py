# AMD's alignment necks: direct and generation side by side, nothing shared.
_base_ = '../pretrain/amd_vit-base-p16_vit-large_32xb64-16x2x1-800e_sthv2.py'
model = dict(neck=dict(type='amd_mm.ParallelAlignment'))
