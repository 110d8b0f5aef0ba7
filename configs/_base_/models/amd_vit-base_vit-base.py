# AMD: a ViT-B (sees 160 of 1568 tokens) learns from a ViT-B (sees 392).
_base_ = ['videomae_vit-base.py', 'distillation.py']
model = dict(
    type='amd_mm.AMD',
    mask_generator=dict(student_ratio=0.9, teacher_ratio=0.75),
    teacher=_base_.vit_base_teacher,
    neck=_base_.serial_alignment,
    layer_pairs=[(6, 6), (12, 12)],
)
