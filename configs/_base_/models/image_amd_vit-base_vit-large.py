# AMD on images: a ViT-B, which sees 49 of 196 tokens, learns from MAE's ViT-L, which sees 98. No
# public code has the paper's mask ratios for images: the student's 0.75 is MAE's, the teacher's
# 0.5 is our choice.
_base_ = 'mae_vit-base.py'
model = dict(
    type='amd_mm.AMD',
    mask_generator=dict(teacher_ratio=0.5),
    teacher=dict(
        type='amd_mm.FrozenTeacher',
        dtype='bfloat16',  # half the memory; autocast computes in it anyway
        backbone=dict(
            type='amd_mm.ImageVisionTransformer', arch='large', img_size=224, patch_size=16
        ),
    ),
    neck=dict(
        type='amd_mm.SerialAlignment', loss=dict(type='amd_mm.FeatureAlignmentLoss', distance='l2')
    ),
    layer_pairs=[(6, 12), (12, 24)],
)
