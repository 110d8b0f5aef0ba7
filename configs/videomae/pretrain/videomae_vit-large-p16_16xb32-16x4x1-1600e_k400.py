# VideoMAE: ViT-L on Kinetics-400, 1600 epochs.
#
# 16 GPUs x 32 clips (8 videos x 4 samples) = 512 clips a step at lr 3e-4, as
# in the scripts (the paper has the same rule, 1.5e-4 for every 256 clips).
_base_ = [
    '../../_base_/models/videomae_vit-large.py',
    '../../_base_/datasets/k400.py',
    '../../_base_/schedules/videomae_1600e.py',
    '../../_base_/runtime/pretrain.py',
]
train_dataloader = dict(batch_size=32 // _base_.num_views)
optim_wrapper = dict(optimizer=dict(lr=3e-4))
auto_scale_lr = dict(base_batch_size=128)
