# VideoMAE, 800 epochs, as 200 passes of 4 samples of each video (VideoMAE
# itself: 800 passes of one; the clips are as many, decoding is a quarter).
#
# 2048 clips a step at the scripts' rate of 1.5e-4 for every 256 clips: 1.2e-3,
# from 8e-6 at the start to 8e-5 at the end. No gradient clipping.
_base_ = 'amd_800e.py'
optim_wrapper = dict(optimizer=dict(lr=1.2e-3), clip_grad=None)

param_scheduler = _base_.param_scheduler
param_scheduler[0].start_factor = 1e-6 / 1.5e-4
param_scheduler[1].eta_min_ratio = 1e-5 / 1.5e-4
