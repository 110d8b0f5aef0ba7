# VideoMAE, 1600 epochs: 400 passes of 4 samples of each video.
_base_ = 'videomae_800e.py'
max_epochs = 400
param_scheduler = _base_.param_scheduler
param_scheduler[1].end = max_epochs
train_cfg = dict(max_epochs=max_epochs)
