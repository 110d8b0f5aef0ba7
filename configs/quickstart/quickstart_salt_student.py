# Quickstart: the same student after SALT. It predicts the last features of the teacher, which sees
# everything, at masked tokens. No pixels.
_base_ = 'quickstart_amd_student.py'
model = dict(
    mask_generator=dict(teacher_ratio=0.0),
    rec_weight=0.0,
    decoder=None,
    head=None,
    neck=dict(
        _delete_=True,
        type='amd_mm.MaskedTokenDecoder',
        depth=1,
        num_heads=3,
        loss=dict(type='amd_mm.FeatureAlignmentLoss', distance='l1'),
    ),
)
