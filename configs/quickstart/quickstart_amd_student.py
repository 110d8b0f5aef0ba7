# Quickstart: the student of quickstart_videomae_student.py, for as many steps
# of as many clips, and distilled from the teacher.
_base_ = ['quickstart_videomae_student.py', '../_base_/models/distillation.py']
neck = _base_.serial_alignment
neck.generator_depth = 1
model = dict(
    type='amd_mm.AMD',
    mask_generator=dict(teacher_ratio=0.5),
    teacher=dict(
        type='amd_mm.FrozenTeacher',
        # As in quickstart_videomae_teacher.py.
        backbone=dict(
            type='amd_mm.VideoVisionTransformer',
            embed_dims=144,
            depth=5,
            num_heads=3,
            use_mean_pooling=False,
            **_base_.clip,
        ),
        checkpoint='work_dirs/quickstart/seed0/teacher/iter_1000.pth',
    ),
    neck=neck,
    layer_pairs=[(2, 3), (4, 5)],
)
