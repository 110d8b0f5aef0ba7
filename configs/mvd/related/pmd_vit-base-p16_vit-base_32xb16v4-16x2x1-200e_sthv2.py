# After PMD (Progressive Mask Distillation, CVPR 2026): a chain of students of one size that see
# less and less of a clip, of which each teaches the next: 75, 80, 85 and 90 % masked. This config
# is one stage, the second; tools/chain.py pmd runs the chain.
# From the paper: the masks, and a student that reconstructs pixels and learns from the one before.
# Not from the paper: its weights of regions and its alignment of a student's own layers; alignment
# with the teacher and schedule are AMD's.
_base_ = '../../amd/pretrain/amd_vit-base-p16_vit-base_32xb16v4-16x2x1-200e_sthv2.py'
model = dict(mask_generator=dict(student_ratio=0.8, teacher_ratio=0.75))
