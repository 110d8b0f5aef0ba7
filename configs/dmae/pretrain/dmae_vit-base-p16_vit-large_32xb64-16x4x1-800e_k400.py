# DMAE on video: AMD's symmetric baseline. ViT-B and ViT-L see the same 10 % of
# the clip; direct alignment alone, an MLP and L2 as AMD's ablations have it.
#
# 32 GPUs x 64 clips (16 videos x 4 samples) = 2048 clips a step at lr 2.4e-3;
# the rest of the recipe, and the notes on it, are AMD's.
_base_ = '../../amd/pretrain/amd_vit-base-p16_vit-large_32xb64-16x4x1-800e_k400.py'
model = dict(
    mask_generator=dict(teacher_ratio=0.9),
    neck=dict(
        _delete_=True,
        type='amd_mm.DirectAlignment',
        hidden=True,
        loss=dict(type='amd_mm.FeatureAlignmentLoss', distance='l2'),
    ),
)
