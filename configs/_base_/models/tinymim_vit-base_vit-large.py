# TinyMIM: a ViT-B learns from block 18 of MAE's ViT-L, with its 16 heads.
_base_ = 'tinymim.py'
model = dict(
    backbone=dict(arch='base'),
    last_heads=16,
    teacher=dict(backbone=dict(arch='large'), block=18, num_heads=16),
)
