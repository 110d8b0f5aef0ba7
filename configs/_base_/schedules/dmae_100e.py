# DMAE, 100 epochs, 20 of warm-up; the rest is MAE's: base lr 1.5e-4 for 256
# images, so 2.4e-3 for the 4096 of a step.
_base_ = 'mae_800e.py'
max_epochs = 100
warmup_epochs = 20
param_scheduler = _base_.param_scheduler
param_scheduler[0].end = warmup_epochs
param_scheduler[1].begin = warmup_epochs
param_scheduler[1].end = max_epochs
train_cfg = dict(max_epochs=max_epochs)
