# TinyMIM: a ViT-T learns from the last block of TinyMIM's ViT-B, read with 12
# heads as in the released code (the paper's reading: 16, on both sides).
_base_ = 'tinymim.py'
model = dict(
    backbone=dict(arch='deit-tiny'),
    last_heads=12,
    teacher=dict(backbone=dict(arch='base'), block=12, num_heads=12),
)
