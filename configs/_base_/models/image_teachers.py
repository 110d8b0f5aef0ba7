# Frozen image teachers, as variables to pick from; the checkpoint comes with
# the config. bfloat16: what autocast makes of the weights anyway, at half the
# memory.
_encoder = dict(type='amd_mm.ImageVisionTransformer', img_size=224, patch_size=16)
image_vit_base_teacher = dict(
    type='amd_mm.FrozenTeacher', dtype='bfloat16', backbone=dict(arch='base', **_encoder)
)
image_vit_large_teacher = dict(
    type='amd_mm.FrozenTeacher', dtype='bfloat16', backbone=dict(arch='large', **_encoder)
)
