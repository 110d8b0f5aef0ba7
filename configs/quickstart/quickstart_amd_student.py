# Quickstart: the same student, distilled from the teacher for as many steps.
_base_ = 'quickstart_videomae_student.py'
model = dict(
    type='amd_mm.AMD',
    mask_generator=dict(teacher_ratio=0.4),
    teacher=dict(
        type='amd_mm.FrozenTeacher',
        # As in quickstart_videomae_teacher.py.
        backbone=dict(
            type='amd_mm.VideoVisionTransformer',
            embed_dims=144,
            depth=5,
            num_heads=3,
            use_mean_pooling=False,
            pos_embed_type='sincos_3d',
            **_base_._clip,
        ),
        checkpoint='{{ fileDirname }}/quickstart_teacher.safetensors',
        # One channel of this teacher has 40 times the variance of the others, and a larger mean:
        # without this option the student spends its steps on it.
        standardize=True,
    ),
    neck=dict(
        type='amd_mm.SerialAlignment', loss=dict(type='amd_mm.FeatureAlignmentLoss', distance='l2')
    ),
    layer_pairs=[(4, 5)],
)
# Distillation is stable at twice the learning rate; VideoMAE alone learns nothing at it.
optim_wrapper = dict(optimizer=dict(lr=4e-3))
