# TinyMIM: ViT-S from ViT-B on ImageNet-1K, the teacher read as in the paper:
# with the 16 heads with which its last block was trained.
_base_ = 'tinymim_vit-small-p16_vit-base_16xb256-300e_in1k.py'
model = dict(last_heads=16, teacher=dict(num_heads=16))
