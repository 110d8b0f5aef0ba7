# AMD: a ViT-S (sees 160 of 1568 tokens) learns from a ViT-L (sees 392).
_base_ = ['videomae_vit-small.py', 'distillation.py']
model = dict(
    type='amd_mm.AMD',
    mask_generator=dict(student_ratio=0.9, teacher_ratio=0.75),
    teacher=_base_.vit_large_teacher,
    neck=_base_.serial_alignment,
    layer_pairs=[(6, 12), (12, 24)],
)
