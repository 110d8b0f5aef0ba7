# VideoMAE: ViT-S on Kinetics-400.
#
# 32 GPUs x 16 videos x 4 views = 2048 clips per step at lr 1.2e-3: 1.5e-4 per 256 clips, in the
# scripts as in the paper. On 8 GPUs, add optim_wrapper.accumulative_counts=4.
_base_ = [
    '../../_base_/models/videomae_vit-small.py',
    '../../_base_/datasets/k400.py',
    '../../_base_/schedules/videomae_200e.py',
    '../../_base_/runtime/pretrain.py',
]
