# AMD on images: a ViT-S (sees 49 of 196 tokens) learns from MAE's ViT-L (98).
_base_ = ['mae_vit-small.py', 'image_amd.py']
model = dict(
    type='amd_mm.AMD',
    mask_generator=_base_.image_amd_masks,
    teacher=_base_.image_vit_large_teacher,
    neck=_base_.image_amd_neck,
    layer_pairs=[(6, 12), (12, 24)],
)
