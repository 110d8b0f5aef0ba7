# Quickstart on images: a student of a fifth of the teacher's size learns from the teacher's third
# block by TinyMIM, for as many steps.
_base_ = 'quickstart_image_teacher.py'
_encoder = dict(type='amd_mm.ImageVisionTransformer', img_size=16, patch_size=4)
model = dict(
    _delete_=True,
    type='amd_mm.TinyMIM',
    data_preprocessor=_base_.model.data_preprocessor,
    backbone=dict(
        arch=dict(embed_dims=48, num_layers=3, num_heads=3, feedforward_channels=192), **_encoder
    ),
    last_heads=6,
    teacher=dict(
        type='amd_mm.RelationTeacher',
        backbone=dict(arch=_base_._arch, **_encoder),
        block=3,
        num_heads=6,
        checkpoint='work_dirs/quickstart_image/teacher/epoch_40.pth',
    ),
    head=dict(type='amd_mm.TokenRelationHead'),
)
