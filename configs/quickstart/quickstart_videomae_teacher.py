# Quickstart: the teacher, larger than the student and pre-trained for longer.
_base_ = 'quickstart_videomae_student.py'
model = dict(backbone=dict(embed_dims=144, depth=5))
train_cfg = dict(max_iters=1000)
