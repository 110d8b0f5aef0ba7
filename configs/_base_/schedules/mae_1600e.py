# MAE, 1600 epochs.
_base_ = 'mae_800e.py'
max_epochs = 1600
param_scheduler = _base_.param_scheduler
param_scheduler[1].end = max_epochs
train_cfg = dict(max_epochs=max_epochs)
