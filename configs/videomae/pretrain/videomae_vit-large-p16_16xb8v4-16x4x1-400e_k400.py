# VideoMAE: ViT-L on Kinetics-400.
#
# 16 GPUs x 8 videos x 4 views = 512 clips per step at lr 3e-4: 1.5e-4 per 256 clips, in the scripts
# as in the paper.
_base_ = [
    '../../_base_/models/videomae_vit-large.py',
    '../../_base_/datasets/k400.py',
    '../../_base_/schedules/videomae_200e.py',
    '../../_base_/runtime/pretrain.py',
]
train_dataloader = dict(batch_size=8)
optim_wrapper = dict(optimizer=dict(lr=3e-4))
train_cfg = dict(max_epochs=400)
auto_scale_lr = dict(base_batch_size=128)
