# MVD: 400 epochs over the videos, 40 of warm-up, one view of a video. Learning rate of its scripts:
# 1.5e-4 per 256 clips = 6e-4 for the 1024 clips of a step, from 0 and down to 4e-4 (the scripts
# scale the end as well). No gradient clipping. (The scripts stretch the cosine over 401 epochs.)
_base_ = 'amd_200e.py'
optim_wrapper = dict(optimizer=dict(lr=6e-4), clip_grad=None)
param_scheduler = _base_.param_scheduler
param_scheduler[0].start_factor = 1e-6
param_scheduler[0].end = 40
param_scheduler[1].begin = 40
param_scheduler[1].eta_min_ratio = 1e-4 / 1.5e-4
train_cfg = dict(max_epochs=400)
auto_scale_lr = dict(base_batch_size=1024)
