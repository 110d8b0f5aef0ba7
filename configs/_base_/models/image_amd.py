# AMD's alignment for images, as variables to pick from. The paper's ratios for
# images are in no public code: the student's 0.75 is MAE's, the teacher's 0.5
# is our choice (the student sees 49 of 196 tokens, the teacher 98).
_base_ = 'image_teachers.py'
image_amd_masks = dict(student_ratio=0.75, teacher_ratio=0.5)
image_amd_neck = dict(
    type='amd_mm.SerialAlignment',
    generator_depth=2,
    loss=dict(type='amd_mm.FeatureAlignmentLoss', distance='l2'),
)
