# TinyMIM, 300 epochs, 15 of warm-up; else as MAE. The public sources name no
# clipping and no other end than MAE's, 0.
_base_ = 'mae_800e.py'
max_epochs = 300
warmup_epochs = 15
param_scheduler = _base_.param_scheduler
param_scheduler[0].end = warmup_epochs
param_scheduler[1].begin = warmup_epochs
param_scheduler[1].end = max_epochs
train_cfg = dict(max_epochs=max_epochs)
