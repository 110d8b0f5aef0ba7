# VideoMAE: 200 epochs with 4 views of every video, which makes as many clips as VideoMAE's own 800
# epochs with one. Learning rate of its scripts and paper: 1.5e-4 per 256 clips = 1.2e-3 for the
# 2048 clips of a step, from 8e-6 and down to 8e-5. No gradient clipping.
_base_ = 'amd_200e.py'
optim_wrapper = dict(optimizer=dict(lr=1.2e-3), clip_grad=None)
param_scheduler = _base_.param_scheduler
param_scheduler[0].start_factor = 1e-6 / 1.5e-4
param_scheduler[1].eta_min_ratio = 1e-5 / 1.5e-4
