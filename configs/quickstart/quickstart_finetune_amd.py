# Quickstart: the same from AMD's student.
_base_ = 'quickstart_finetune_scratch.py'
pretrained = 'work_dirs/quickstart/seed0/student-amd/iter_600.pth'
model = dict(backbone=dict(pretrained=pretrained))
