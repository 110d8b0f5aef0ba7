# TinyMIM: ViT-T from the last block of TinyMIM's ViT-S on ImageNet-1K.
# The block is read with the 12 heads with which it was trained (16 in the paper's chain).
_base_ = 'tinymim_vit-base-p16_vit-large_16xb256-300e_in1k.py'
_checkpoint = 'work_dirs/tinymim_vit-small-p16_vit-base_16xb256-300e_in1k/epoch_300.pth'
model = dict(
    backbone=dict(arch='deit-tiny'),
    last_heads=12,
    teacher=dict(backbone=dict(arch='deit-small'), block=12, num_heads=12, checkpoint=_checkpoint),
)
