# DMAE on video, AMD's symmetric baseline, on Kinetics-400: ViT-B and ViT-L see the same 10 % of a
# clip. Only direct alignment, with an MLP and L2 as in AMD's ablations.
#
# 32 GPUs x 16 videos x 4 views = 2048 clips per step at lr 2.4e-3, as for AMD.
_base_ = '../../amd/pretrain/amd_vit-base-p16_vit-large_32xb16v4-16x4x1-200e_k400.py'
model = dict(mask_generator=dict(teacher_ratio=0.9), neck=dict(type='amd_mm.DirectAlignment'))
