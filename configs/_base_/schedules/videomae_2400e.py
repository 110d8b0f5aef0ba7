# VideoMAE, 2400 epochs: 600 passes of 4 samples of each video.
_base_ = 'videomae_800e.py'
max_epochs = 600
param_scheduler = _base_.param_scheduler
param_scheduler[1].end = max_epochs
train_cfg = dict(max_epochs=max_epochs)
