# TinyMIM: a ViT-S learns from the last block of TinyMIM's ViT-B, read with 12
# heads as in the released code. The paper's reading: the 16 heads with which
# that block was trained, `last_heads=16` and `teacher.num_heads=16`.
_base_ = 'tinymim.py'
model = dict(
    backbone=dict(arch='deit-small'),
    last_heads=12,
    teacher=dict(backbone=dict(arch='base'), block=12, num_heads=12),
)
