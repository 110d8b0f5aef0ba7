# Quickstart: the teacher, larger than the student and pre-trained for longer.
# Its loss must have left its plateau long before it teaches.
_base_ = 'quickstart_videomae_student.py'
model = dict(backbone=dict(embed_dims=144, depth=5))

max_iters = 1000
param_scheduler = _base_.param_scheduler
param_scheduler[1].end = max_iters
train_cfg = dict(max_iters=max_iters)
