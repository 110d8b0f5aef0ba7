# After UMT (Unmasked Teacher, arXiv 2303.16058): the student's visible tokens learn the features of
# CLIP's image encoder, which sees whole frames. From the paper: a CLIP teacher, normalised features
# compared by L2 on the visible tokens alone, linear layers from several last blocks, 80 % masked,
# no pixels. Not from the paper: masks (random tubes instead of CLIP's attention), the student's
# patches (tubelets of 2 frames instead of single frames), the schedule (MVD's), the stage with
# text.
#
# The teacher needs timm, which downloads its weights.
_base_ = '../pretrain/mvd_vit-base-p16_vit-base_32xb32-16x4x1-400e_k400.py'
model = dict(
    backbone=dict(pos_embed_type='sincos_1d'),
    mask_generator=dict(student_ratio=0.8, teacher_ratio=0.8),
    teacher=dict(
        _delete_=True,
        type='amd_mm.TimmTeacher',
        model='vit_base_patch16_clip_224.openai',
        dtype='bfloat16',
    ),
    neck=dict(
        _delete_=True,
        type='amd_mm.DirectAlignment',
        hidden=False,
        loss=dict(type='amd_mm.FeatureAlignmentLoss', distance='l2', normalize=True),
    ),
    layer_pairs=[(7, 7), (8, 8), (9, 9), (10, 10), (11, 11), (12, 12)],
)
