# TinyMIM: a ViT-T learns from the last block of TinyMIM's ViT-S, read with the
# 12 heads with which it was trained (16 if it learnt with the paper's).
_base_ = 'tinymim.py'
model = dict(
    backbone=dict(arch='deit-tiny'),
    last_heads=12,
    teacher=dict(backbone=dict(arch='deit-small'), block=12, num_heads=12),
)
