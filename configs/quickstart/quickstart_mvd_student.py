# Quickstart: the same student after MVD. It predicts the last features of two teachers, which see
# everything, at masked tokens: the shipped one, and one that sees single frames
# (quickstart_mae_frames.py). No pixels.
_base_ = 'quickstart_salt_student.py'
model = dict(
    teacher=dict(
        _delete_=True,
        image=dict(
            type='amd_mm.ImageTeacher',
            backbone=dict(
                type='amd_mm.ImageVisionTransformer',
                arch=dict(embed_dims=144, num_layers=5, num_heads=3, feedforward_channels=576),
                img_size=32,
                patch_size=8,
            ),
            checkpoint='work_dirs/quickstart/mae-frames/epoch_15.pth',
            standardize=True,
        ),
        video=dict(_base_.model.teacher),
    ),
    neck=dict(loss=dict(distance='smooth_l1')),
)
