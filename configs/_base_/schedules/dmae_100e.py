# DMAE: 100 epochs, 20 of warm-up; otherwise as MAE.
_base_ = 'mae_800e.py'
param_scheduler = _base_.param_scheduler
param_scheduler[0].end = param_scheduler[1].begin = 20
train_cfg = dict(max_epochs=100)
