# Quickstart: the same from the student that VideoMAE alone has pre-trained.
_base_ = 'quickstart_finetune_scratch.py'
pretrained = 'work_dirs/quickstart/seed0/student-videomae/iter_600.pth'
model = dict(backbone=dict(pretrained=pretrained))
