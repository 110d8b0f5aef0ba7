# Parts of AMD that its models have in common, as variables to pick from.
_encoder = dict(
    type='amd_mm.VideoVisionTransformer', img_size=224, num_frames=16, use_mean_pooling=False
)
# bfloat16: what autocast makes of the weights anyway, at half the memory.
vit_base_teacher = dict(
    type='amd_mm.FrozenTeacher',
    dtype='bfloat16',
    backbone=dict(embed_dims=768, depth=12, num_heads=12, **_encoder),
)
vit_large_teacher = dict(
    type='amd_mm.FrozenTeacher',
    dtype='bfloat16',
    backbone=dict(embed_dims=1024, depth=24, num_heads=16, **_encoder),
)

serial_alignment = dict(
    type='amd_mm.SerialAlignment',
    generator_depth=2,
    loss=dict(type='amd_mm.FeatureAlignmentLoss', distance='l2'),
)
