# Quickstart on images: a student a fifth of the teacher's size, for as many
# steps, by TinyMIM from the teacher's third block of four.
_base_ = 'quickstart_image_teacher.py'
student = dict(embed_dims=48, num_layers=3, num_heads=3, feedforward_channels=192)
encoder = dict(type='amd_mm.ImageVisionTransformer', **_base_.size)
model = dict(
    _delete_=True,
    type='amd_mm.TinyMIM',
    data_preprocessor=_base_.model.data_preprocessor,
    backbone=dict(arch=student, **encoder),
    last_heads=6,
    teacher=dict(
        type='amd_mm.RelationTeacher',
        backbone=dict(arch=_base_.arch, **encoder),
        block=3,
        num_heads=6,
        checkpoint='work_dirs/quickstart_image/teacher/epoch_40.pth',
    ),
    head=dict(type='amd_mm.TokenRelationHead', relations=['qk', 'vv']),
)
